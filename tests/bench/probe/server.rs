//! Candidate (c): Redis or Valkey, each step two functions in one write (`commit`, `enqueue`), as the queue's contract has them.
//!
//! Every message of a batch carries the same content; it is sent once per batch and stored per message, so the network's part (loopback)
//! is smaller than in the product, the store's is the same.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use posthouse_tests::store::{Flavor, Options, Server};
use posthouse_tests::wait;
use redis::{Connection, Script};

use crate::{Candidate, Id, OLD_CONTENT_IN_MEMORY};

/// A fixed number of hashes, so that every key is declared and none is huge.
const BUCKETS: u16 = 1024;

const TOKEN: &str = "token-01";

pub(crate) struct Scripted {
    flavor: Flavor,
    server: Server,
    connection: Connection,
    commit: Script,
    enqueue: Script,
}

impl Scripted {
    pub(crate) fn start(flavor: Flavor, parent: PathBuf) -> Result<Self> {
        let server = Server::start_with(flavor, Options { parent: Some(parent), ..Options::default() })?;
        let mut connection = redis::Client::open(server.url())?.get_connection()?;
        let commit = Script::new(include_str!("commit.lua"));
        let enqueue = Script::new(include_str!("enqueue.lua"));
        for script in [&commit, &enqueue] {
            script.prepare_invoke().load(&mut connection)?;
        }
        Ok(Self { flavor, server, connection, commit, enqueue })
    }

    fn config(&mut self, name: &str, value: &str) -> Result<()> {
        Ok(redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query(&mut self.connection)?)
    }

    /// A rewrite under way would be charged to the next measurement; one that a measurement starts itself is its own.
    fn wait_for_rewrite(&mut self) -> Result<()> {
        wait::until("the log to be rewritten", wait::SOON * 4, || {
            let state: String = redis::cmd("INFO").arg("persistence").query(&mut self.connection)?;
            let busy =
                state.contains("aof_rewrite_in_progress:1") || state.contains("aof_rewrite_scheduled:1");
            Ok((!busy).then_some(()))
        })
    }
}

impl Candidate for Scripted {
    fn name(&self) -> &'static str {
        self.flavor.name()
    }

    fn batches(&self) -> [usize; 3] {
        [1, 4, 16]
    }

    fn step(&mut self, settle: &[Id], enqueue: &[Id], content: &[u8], record: &[u8]) -> Result<()> {
        let mut pipe = redis::pipe();
        let mut calls = 0;
        if !settle.is_empty() {
            call(&mut pipe, &self.commit, settle, &[TOKEN.as_bytes()]);
            calls += 1;
        }
        if !enqueue.is_empty() {
            call(&mut pipe, &self.enqueue, enqueue, &[TOKEN.as_bytes(), b"1700000000000", record, content]);
            calls += 1;
        }
        let done: Vec<usize> = pipe.query(&mut self.connection)?;
        ensure!(
            done.len() == calls && done.iter().sum::<usize>() == settle.len() + enqueue.len(),
            "a message was not taken"
        );
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn old_content(&self) -> usize {
        OLD_CONTENT_IN_MEMORY
    }

    fn durable(&mut self, durable: bool) -> Result<()> {
        self.config("appendfsync", if durable { "always" } else { "no" })?;
        if durable { self.wait_for_rewrite() } else { Ok(()) }
    }

    fn bytes_written(&mut self) -> Result<u64> {
        self.server.process()?.bytes_written()
    }
}

fn call(pipe: &mut redis::Pipeline, script: &Script, ids: &[Id], arguments: &[&[u8]]) {
    let command =
        pipe.cmd("EVALSHA").arg(script.get_hash()).arg(2 + 2 * ids.len()).arg("{0}counters").arg("{0}active");
    for id in ids {
        let bucket = u16::from_be_bytes([id[14], id[15]]) % BUCKETS;
        command.arg(format!("{{0}}entries:{bucket}")).arg(format!("{{0}}contents:{bucket}"));
    }
    for argument in arguments {
        command.arg(*argument);
    }
    for id in ids {
        command.arg(id);
    }
}
