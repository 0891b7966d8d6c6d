//! A channel over any store, with an operator's side and nodes' sides of it, and what travels.

use std::{fs, sync::Arc};

use posthouse_channel::{
    Channel, Directory, Follower, KeyFolder, Lease, Look, Published, Publisher, RedisChannel, Refused, Report,
};
use posthouse_config::{Gateway, MailDomain, Snapshot};
use posthouse_model::Timestamp;
use posthouse_tests::store::{Flavor, Server};
use tempfile::TempDir;

pub(crate) const QUEUE: &str = "mail.edge";
pub(crate) const NOW: Timestamp = Timestamp(1_000);

/// A channel, and what it is made of.
pub(crate) struct Road {
    pub(crate) channel: Channel,
    pub(crate) server: Option<Server>,
    pub(crate) folder: TempDir,
}

impl Road {
    pub(crate) fn over(flavor: Option<Flavor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = flavor.map(|flavor| Server::start(flavor).unwrap());
        let channel = match &server {
            Some(server) => Channel::Redis(RedisChannel::new(&server.url(), QUEUE).unwrap()),
            None => Channel::Directory(Directory::create(folder.path().join("config")).unwrap()),
        };
        let road = Self { channel, server, folder };
        road.keys().create().unwrap();
        road
    }

    pub(crate) fn keys(&self) -> KeyFolder {
        KeyFolder::new(self.folder.path().join("keys"))
    }

    /// One after another of the same operator.
    pub(crate) fn publisher(&self) -> Publisher {
        self.publisher_of(lease(0, "operator"))
    }

    pub(crate) fn publisher_of(&self, lease: Lease) -> Publisher {
        Publisher::new(vec![self.channel.clone()], self.keys(), lease)
    }

    pub(crate) async fn forget(&self, uid: &str) {
        self.channel.forget(&[uid.to_owned()], &lease(0, "operator")).await.unwrap();
    }

    pub(crate) fn follower(&self, name: &str) -> Follower {
        Follower::new(self.channel.clone(), self.keys(), format!("uid-{name}"), name.to_owned())
    }

    pub(crate) async fn live(&self) -> Vec<Report> {
        self.channel.reports().await.unwrap()
    }

    /// All is gone but the server.
    pub(crate) fn lose_everything(&self) {
        if let Some(server) = &self.server {
            let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
            let () = redis::cmd("FLUSHALL").query(&mut raw).unwrap();
        } else {
            fs::remove_dir_all(self.folder.path().join("config")).unwrap();
            Directory::create(self.folder.path().join("config")).unwrap();
        }
    }

    /// Replaces the totals by something else.
    pub(crate) fn spoil_totals(&self, octets: &[u8]) {
        if let Some(server) = &self.server {
            let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
            let key = format!("ph:{{{QUEUE}.config}}:totals");
            let () = redis::Cmd::hset(key, "text", octets).query(&mut raw).unwrap();
        } else {
            fs::write(self.folder.path().join("config/totals"), octets).unwrap();
        }
    }

    /// Replaces a piece by something else, or takes it away.
    pub(crate) fn spoil(&self, name: &str, octets: Option<&[u8]>) {
        if let Some(server) = &self.server {
            let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
            let key = format!("ph:{{{QUEUE}.config}}:chunks");
            let () = match octets {
                Some(octets) => redis::Cmd::hset(key, name, octets).query(&mut raw).unwrap(),
                None => redis::Cmd::hdel(key, name).query(&mut raw).unwrap(),
            };
        } else {
            let file = self.folder.path().join("config/chunks").join(name);
            match octets {
                Some(octets) => fs::write(file, octets).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
        }
    }
}

pub(crate) fn lease(transitions: u64, id: &str) -> Lease {
    Lease::new(transitions, id, &format!("the operator {id}"))
}

pub(crate) fn snapshot(hostname: &str, domains: usize) -> Arc<Snapshot> {
    let gateway = Gateway::new("mail/edge".parse().unwrap(), hostname.parse().unwrap());
    let mut snapshot = Snapshot::new(gateway);
    let domain = |number: usize| {
        let name = format!("d{number:04}.example");
        Arc::new(MailDomain::new(name.parse().unwrap(), format!("mail/{name}").parse().unwrap()))
    };
    snapshot.domains = (0..domains).map(domain).collect();
    Arc::new(snapshot.sorted())
}

pub(crate) fn hostname(look: &Look) -> String {
    match look {
        Look::New(assembled) => assembled.snapshot.gateway.hostname.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Looks, and takes what is there; its hostname.
pub(crate) async fn take(follower: &mut Follower) -> String {
    let look = follower.look().await.unwrap();
    let found = hostname(&look);
    if let Look::New(assembled) = look {
        follower.applied(assembled);
    }
    follower.say().await.unwrap();
    found
}

pub(crate) async fn refused(follower: &mut Follower) -> Refused {
    let look = follower.look().await.unwrap();
    let Look::Refused(refused) = look else { panic!("{look:?}") };
    follower.say().await.unwrap();
    refused
}

pub(crate) async fn publish(publisher: &mut Publisher, road: &Road, snapshot: &Arc<Snapshot>) -> Published {
    publisher.publish(snapshot, &road.live().await, NOW).await.unwrap()
}
