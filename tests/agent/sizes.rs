//! Everything as large as the schema lets it be, and guests are answered.

use std::net::Ipv4Addr;

use crate::lab::{Ask, MessageType, raw};
use crate::largest::{all, label, long};
use crate::site::Site;

#[test]
fn the_largest_network_is_served_and_what_does_not_fit_is_told() {
    let site = Site::new();
    site.write("all.yaml", &all("team-a"));
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 251));
    let want = |codes: &[u8]| {
        let ask = Ask::new(MessageType::Discover).want(codes);
        guest.answer(&ask.option(raw(57, &1_500_u16.to_be_bytes())))
    };
    let own = want(&[160, 121]);
    assert_eq!(own.option(160), Some(&[b'p'; 255][..]));
    assert!(own.option(121).is_some_and(|routes| routes.len() > 200), "{:?}", own.option(121));
    assert_eq!(want(&[193]).option(193), Some(&[b's'; 255][..]));
    let everything: Vec<u8> = (160..192).collect();
    let got = want(&everything);
    let fit = everything.iter().filter(|code| got.option(**code).is_some()).count();
    assert!((4..32).contains(&fit), "{fit}");

    site.until_ready("Network", &label('n'));
    site.until_ready("Port", &long('p'));
    site.until_not_ready("Subnet", "t64", "TooManySubnets", "64");
    let status = site.status();
    for (kind, name) in [("Port", long('p')), ("Subnet", long('s'))] {
        let said = status.condition(kind, &name, "OptionsFit").unwrap();
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "OptionsTooLong"));
    }
    site.assert_nothing_to_do();
}
