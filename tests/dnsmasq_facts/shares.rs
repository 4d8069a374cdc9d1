//! Several processes in one namespace, each for its share of a network's guests; one answers by DNS.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::lab::{Answer, Ask, DhcpOption, DnsReply, Dnsmasq, Lab, Mac, MessageType, Setup, rtype};
use crate::{MANY_RANGE, guest, host, ip, machine, many_hosts, many_ip, offered};

/// One that answers by DNS, and guest 1 and 2 each heard by another, with strangers beside them.
fn shared(lab: &Lab) -> [Dnsmasq<'_>; 3] {
    let all = [0_u8, 1, 2].map(|share| {
        let hosts = if share == 0 { String::new() } else { host(share.into(), 10 + share) };
        Dnsmasq::with_hosts(lab, Setup::default().share(share.into()), &hosts)
    });
    all[0].spread([(Mac::nth(1), 1), (Mac::nth(2), 2)].into_iter());
    all
}

#[test]
fn each_guest_is_answered_by_its_own_and_as_by_a_single_one() {
    let lab = machine();
    let _all = shared(&lab);
    for n in [1, 2] {
        let (guest, address) = (guest(&lab, n), ip(10 + u8::try_from(n).unwrap()));
        let capture = lab.capture("br0");
        let ack = guest.dora();
        assert_eq!((ack.yiaddr(), ack.server()), (address, ip(2)));
        assert_eq!(guest.init_reboot(address).unwrap().kind(), MessageType::Ack);
        assert_eq!(guest.renew(address, ip(2)).unwrap().kind(), MessageType::Ack);
        let rebind = Ask::new(MessageType::Request).ciaddr(address);
        assert_eq!(guest.ask_all(&rebind).iter().map(Answer::kind).collect::<Vec<_>>(), [MessageType::Ack]);
        capture.assert_no_nak();
        let wrong = guest.init_reboot(ip(99)).unwrap();
        assert_eq!((wrong.kind(), wrong.reason()), (MessageType::Nak, "wrong address".to_owned()));
    }
    assert!(guest(&lab, 3).silent(), "a stranger is answered");
}

#[test]
fn rules_for_answers_hold_for_theirs() {
    let lab = machine();
    let _all = shared(&lab);
    let guest = guest(&lab, 1);
    let nak = guest.select(ip(11), ip(3)).unwrap();
    assert_eq!((nak.kind(), nak.reason()), (MessageType::Nak, "wrong server-ID".to_owned()));
    lab.run_in("srv", &format!("{} -j DROP", crate::pair::NAK_RULE));
    assert!(guest.select(ip(11), ip(3)).is_none());
    assert!(guest.dora().checksum_ok);
}

#[test]
fn a_lease_is_in_the_file_of_the_one_that_gave_it_and_is_given_back_there() {
    let lab = machine();
    let all = shared(&lab);
    let guest = guest(&lab, 2);
    guest.dora();
    let has = || all.each_ref().map(|dnsmasq| dnsmasq.leases().contains("10.0.0.12"));
    assert_eq!(has(), [false, false, true]);
    guest.send(
        &Ask::new(MessageType::Release).ciaddr(ip(12)).to(ip(2)).option(DhcpOption::ServerIdentifier(ip(2))),
    );
    crate::lab::eventually("the release", crate::lab::PATIENCE, || (!has()[2]).then_some(()));
}

#[test]
fn the_end_of_one_is_the_silence_of_its_own_guests_only() {
    let lab = machine();
    let all = shared(&lab);
    all[1].stop();
    assert!(guest(&lab, 1).silent());
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(12)));
    assert_eq!(all[0].local_dns().ask("nobody", rtype::A), DnsReply::refused());
    all[1].start();
    assert_eq!(offered(&guest(&lab, 1)), Some(ip(11)));
}

#[test]
fn no_guest_reaches_the_ports_that_are_between_us() {
    let lab = machine();
    let all = shared(&lab);
    all[1].apply("names", "all", "10.0.0.11 inside\n");
    assert_eq!(all[1].local_dns().ask("inside", rtype::A), DnsReply::found(&["10.0.0.11"]));
    let guest = guest(&lab, 1);
    guest.configure("10.0.0.11/24", None);
    let server = (Ipv4Addr::new(10, 0, 0, 2), 801).into();
    let from_outside = crate::lab::DnsSocket::at(&lab, Some(guest.netns()), server);
    from_outside.try_send("inside", rtype::A);
    assert_eq!(from_outside.receive(Duration::from_millis(300)), None);
}

/// An event makes deaf only the process of whose share it is, and a change of names only the one for DNS.
#[test]
fn an_event_of_one_share_is_not_felt_by_the_others() {
    let lab = machine();
    let (large, small) = (1_500, 1_510);
    let setup = || {
        let setup = Setup::default().ranges(&[MANY_RANGE]).addresses(&["10.0.0.2/16"]);
        setup.more(&["--dhcp-lease-max=10000"])
    };
    let dns = Dnsmasq::with_hosts(&lab, setup(), "");
    let busy = Dnsmasq::prepare(&lab, setup().share(1));
    busy.write("hosts", "all", &many_hosts(large));
    let named = (1..=large).fold(String::new(), |mut text, n| {
        writeln!(text, "4102444800 {} {} vm{n} *", Mac::nth(n), many_ip(n)).unwrap();
        text
    });
    std::fs::write(busy.path("leases"), named).unwrap();
    busy.start();
    let own = host(small, 0).replace("10.0.0.0", &many_ip(small).to_string());
    let _calm = Dnsmasq::with_hosts(&lab, setup().share(2), &own);
    dns.spread((1..=large).map(|n| (Mac::nth(n), 1)).chain([(Mac::nth(small), 2)]));
    let (of_busy, of_calm) = (guest(&lab, large), guest(&lab, small));
    let took = |guest: &crate::lab::Guest<'_>| {
        let began = Instant::now();
        guest.ask_for(&Ask::new(MessageType::Discover), Duration::from_secs(10)).unwrap();
        began.elapsed()
    };
    let mut times: [Vec<Duration>; 2] = Default::default();
    for n in 0..9 {
        busy.write(
            "hosts",
            &format!("more{n}"),
            &host(5_000 + n, 0).replace("10.0.0.0", &many_ip(5_000 + n).to_string()),
        );
        times[0].push(took(&of_calm));
        times[1].push(took(&of_busy));
        busy.barrier();
    }
    let [mut calm, mut busy] = times;
    calm.sort();
    busy.sort();
    // What else the machine does is not in the least of them.
    let (calm, busy) = (calm[0], busy[4]);
    println!("after an event at 1,500 leased hosts: of another share {calm:?}, of its own {busy:?}");
    assert!(calm * 4 < busy, "{calm:?}, {busy:?}");
}
