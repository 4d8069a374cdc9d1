//! Open vSwitch with its datapath in user space, in the machine of a test: lines of shell.

#![allow(unreachable_pub, dead_code, reason = "it is a library to the tests, and each uses its part")]

/// Starts the database and the switch, with bridge `br-int`.
pub const START: &str = "mkdir -p /run/openvswitch; cd /run/openvswitch
    ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
    start() { ovsdb-server conf.db --remote=punix:/run/openvswitch/db.sock --pidfile=/run/openvswitch/server.pid \
        --unixctl=/run/openvswitch/server.ctl --detach --no-chdir --log-file=/run/openvswitch/server.log -vconsole:off; }
    start; ovs-vsctl --no-wait init
    ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile=/run/openvswitch/switch.pid \
        --unixctl=/run/openvswitch/switch.ctl --detach --no-chdir --log-file=/run/openvswitch/switch.log -vconsole:off
    ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev";

/// Ends the database; the switch goes on.
pub const STOP: &str = "pid=$(cat /run/openvswitch/server.pid); kill $pid; while [ -e /run/openvswitch/server.pid ]; do sleep 0.01; done";

/// Starts the database again.
pub const START_AGAIN: &str = "cd /run/openvswitch
    ovsdb-server conf.db --remote=punix:/run/openvswitch/db.sock --pidfile=/run/openvswitch/server.pid \
        --unixctl=/run/openvswitch/server.ctl --detach --no-chdir --log-file=/run/openvswitch/server.log -vconsole:off";
