//! Everything that knows dnsmasq: its command line, its files, what it makes of them.
//!
//! Called by `desired` (render), `plan` and `host` (write, observe). Pure: the process and the files
//! themselves are `host`'s. What dnsmasq does with its input is modelled here as it was seen with
//! 2.90; `tests/dnsmasq_facts` holds each fact against the real one.

mod argv;
mod host;
mod journal;
mod kinds;
mod layout;
mod leases;
mod log;
mod names;
mod option_set;
mod options;
mod options6;
mod plan;
mod render;
mod rights;
mod share;
mod spread;
mod state;
mod txt;

pub use argv::{argv, dynamic_ranges, lease_seconds, same_range, server_duid};
pub use host::{Client, Host, HostChange};
pub use journal::{FIRST, addition, identity_of, read_hosts, read_options};
pub use layout::Layout;
pub use leases::{Record, lease_file, leases, records, with_handed_over};
pub use log::{Message, Refusal, declined, messages, refusals, unread, without_address};
pub use names::{Names, name_files, read_names};
pub use option_set::{OptionKey, OptionSet};
pub use options::{OptionError, render_option};
pub use plan::{Planned, plan};
pub use render::{hosts_text, options_text, server};
pub use rights::Rights;
pub use share::{DHCP_PORTS, Limit, Limits, PRIVATE_PORTS, Share, Shares, share_out, shares_of};
pub use spread::Spread;
pub use state::{Action, Files, Hosts, Lease, Process, Server, moved_leases, record};
