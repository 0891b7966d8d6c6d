//! An nginx of the test's own: its stream module hands connections on and says whose they are (PROXY protocol, version 1), on an ephemeral port.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Child, free_address};
use crate::{binaries, wait};

/// Where Debian keeps the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A running instance.
#[derive(Debug)]
pub struct Nginx {
    // Before the folder, so that nothing writes there any more when it goes.
    _child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Hands connections on to `server`, from the address `source`.
    pub fn start(server: SocketAddr, source: IpAddr) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-nginx-").tempdir()?;
        let address = free_address()?;
        // Without its file of users it would be `nobody`, which is all it needs to be.
        let configuration = format!(
            "load_module {MODULE};\ndaemon off;\nworker_processes 1;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\n\
             stream {{ server {{ listen {address}; proxy_pass {server}; proxy_bind {source}; proxy_protocol on; }} }}\n",
            folder.path().display()
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new(binaries::system("nginx", "nginx")?);
        command.arg("-c").arg(file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
        let mut child = Child::start_group("nginx", command, folder.path())?;
        let pid = folder.path().join("pid");
        let listens = || Ok((pid.exists() && TcpStream::connect(address).is_ok()).then_some(()));
        child.until("nginx to listen", wait::SOON, listens)?;
        Ok(Self { _child: child, address, _folder: folder })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn nginx_says_whose_connection_it_hands_on() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let source: IpAddr = "127.0.0.2".parse().unwrap();
        let nginx = Nginx::start(server.local_addr().unwrap(), source).unwrap();
        let client = crate::wire::connect_from("127.0.0.3".parse().unwrap(), nginx.address()).unwrap();
        // The first connections were made to see whether it listens.
        let own = client.local_addr().unwrap();
        let found = server.incoming().map(Result::unwrap).find_map(|stream| {
            assert_eq!(stream.peer_addr().unwrap().ip(), source);
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            line.contains(&format!(" {} ", own.port())).then_some(line)
        });
        let address = nginx.address();
        assert_eq!(
            found.unwrap(),
            format!("PROXY TCP4 127.0.0.3 127.0.0.1 {} {}\r\n", own.port(), address.port())
        );
    }
}
