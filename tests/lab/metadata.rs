//! A guest's way to the metadata service.

use std::io;
use std::net::{SocketAddr, SocketAddrV6, TcpStream};
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use super::Lab;

impl Lab {
    /// A connection of this guest's to it; its source is as the kernel chooses.
    pub fn metadata(&self, netns: &str, six: bool, within: Duration) -> io::Result<TcpStream> {
        self.in_netns(Some(netns), || {
            let there = if six {
                let device = if_nametoindex("eth0").unwrap();
                SocketAddrV6::new("fe80::a9fe:a9fe".parse().unwrap(), 80, 0, device).into()
            } else {
                SocketAddr::from(([169, 254, 169, 254], 80))
            };
            TcpStream::connect_timeout(&there, within)
        })
    }
}
