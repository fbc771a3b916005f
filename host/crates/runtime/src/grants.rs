//! Turns an extension's permissions into what WASI gives it: nothing else can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use glasshouse_model::settings::{NetworkAccess, NetworkHost, Permissions};
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Clock, Level};
use glasshouse_telemetry::Recorder;
use ipnet::IpNet;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use crate::intake::host_log;
use crate::stdio::{Stdio, Stream};

/// Random bytes that a guest gets at once; `getrandom` asks for 256 at most.
const RANDOM_BYTES: u64 = 64 * 1024;

/// A permission that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// A folder that was granted cannot be opened.
    #[error("permissions.files: cannot open {host} for the guest's {guest}: {cause:#}")]
    Folder {
        /// The host's folder.
        host: String,
        /// Where the guest would see it.
        guest: String,
        /// What the system said.
        cause: wasmtime::Error,
    },
    /// A name that was granted has no addresses.
    #[error("permissions.network: cannot look up \"{name}\": {cause}")]
    Lookup {
        /// The host name.
        name: String,
        /// What the resolver said.
        cause: std::io::Error,
    },
}

/// The addresses that an instance may reach: names are looked up once, so that a changed answer gives nothing new.
#[derive(Default)]
pub(crate) struct Reachable {
    rules: Vec<(IpNet, Option<u16>)>,
    /// By name in lower case.
    names: BTreeMap<String, Vec<IpAddr>>,
}

impl Reachable {
    /// Looks up names; blocks while it does.
    pub(crate) fn resolve(network: &[NetworkAccess]) -> Result<Self, GrantError> {
        let mut reachable = Self::default();
        for access in network {
            match &access.host {
                NetworkHost::Block(block) => reachable.rules.push((*block, access.port)),
                NetworkHost::Name(name) => {
                    let found: BTreeSet<_> = (name.as_str(), 0)
                        .to_socket_addrs()
                        .map_err(|cause| GrantError::Lookup { name: name.clone(), cause })?
                        .map(|address| address.ip())
                        .collect();
                    reachable.rules.extend(found.iter().map(|address| (IpNet::from(*address), access.port)));
                    reachable.names.insert(name.to_ascii_lowercase(), found.into_iter().collect());
                }
            }
        }
        Ok(reachable)
    }

    /// The addresses of a name that was granted.
    pub(crate) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.names.get(&name.to_ascii_lowercase()).cloned()
    }

    fn allows(&self, address: SocketAddr, use_: SocketAddrUse) -> bool {
        // Every connection begins with a bind of the own end, to any address and port; listening is never granted.
        let own_end = match use_ {
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => return false,
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => address.ip().is_unspecified() && address.port() == 0,
            _ => false,
        };
        // An IPv4 address in IPv6 clothing is the IPv4 address.
        let ip = match address.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        own_end
            || self
                .rules
                .iter()
                .any(|(block, port)| block.contains(&ip) && port.is_none_or(|port| port == address.port()))
    }
}

/// Makes an instance's WASI context.
pub(crate) fn wasi(
    permissions: &Permissions,
    reachable: &Arc<Reachable>,
    stdio: &Stdio,
    recorder: &Recorder,
    clock: &Arc<dyn Clock>,
) -> Result<WasiCtx, GrantError> {
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(stdio.stream(Stream::Out)).stderr(stdio.stream(Stream::Error)).max_random_size(RANDOM_BYTES);
    for name in &permissions.env {
        if let Ok(value) = std::env::var(name) {
            builder.env(name, value);
        }
    }
    for folder in &permissions.files {
        let access = if folder.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder.preopened_dir(&folder.host, &folder.guest, access).map_err(|cause| GrantError::Folder {
            host: folder.host.display().to_string(),
            guest: folder.guest.clone(),
            cause,
        })?;
    }
    let networked = !permissions.network.is_empty();
    builder.allow_tcp(networked).allow_udp(networked);
    let (reachable, recorder, clock) = (Arc::clone(reachable), recorder.clone(), Arc::clone(clock));
    builder.socket_addr_check(move |address, use_| {
        let allowed = reachable.allows(address, use_);
        if !allowed {
            let target = address.to_string();
            let fields = [
                Field { name: "event", value: Value::Text("permission.denied") },
                Field { name: "permission", value: Value::Text("network") },
                Field { name: "target", value: Value::Text(&target) },
            ];
            let message = "denied: the operator has not granted this address";
            host_log(&recorder, &*clock, &[], Level::Warning, message, &fields);
        }
        Box::pin(std::future::ready(allowed))
    });
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[(&str, Option<u16>)], address: &str, use_: SocketAddrUse, expect: bool) {
        let rules = rules.iter().map(|(block, port)| (block.parse().expect("a block"), *port)).collect();
        let address = address.parse().expect("an address");
        assert_eq!(Reachable { rules, ..Reachable::default() }.allows(address, use_), expect, "{address}");
    }

    #[test]
    fn only_granted_addresses_are_reached() {
        let rules = [("10.0.0.0/8", Some(443)), ("::1/128", None)];
        check(&rules, "10.1.2.3:443", SocketAddrUse::TcpConnect, true);
        check(&rules, "[::ffff:10.1.2.3]:443", SocketAddrUse::TcpConnect, true);
        check(&rules, "10.1.2.3:80", SocketAddrUse::TcpConnect, false);
        check(&rules, "11.1.2.3:443", SocketAddrUse::TcpConnect, false);
        check(&rules, "[::1]:80", SocketAddrUse::UdpSend, true);
        check(&rules, "[::1]:80", SocketAddrUse::TcpListen, false);
        check(&rules, "127.0.0.1:80", SocketAddrUse::TcpBind, false);
        check(&rules, "0.0.0.0:0", SocketAddrUse::UdpBind, true);
        check(&[], "127.0.0.1:80", SocketAddrUse::TcpConnect, false);
    }
}
