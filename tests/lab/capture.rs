//! What DHCP was said on a segment, to assert also what was *not* said.

use std::time::Instant;

use super::{Answer, Datagram, Lab, MessageType, Wire};

/// All DHCPv4 messages on a bridge since the capture began.
pub struct Capture {
    wire: Wire,
}

/// One message of either side.
pub struct Seen {
    pub datagram: Datagram,
    pub answer: Answer,
}

impl Capture {
    pub(super) fn new(lab: &Lab, bridge: &str) -> Self {
        Self { wire: Wire::open(lab, None, bridge) }
    }

    /// What has been seen since the last call. Messages sent before it are in the socket already.
    pub fn take(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(frame) = self.wire.receive(Instant::now()) {
            let datagram = Datagram::parse(&frame).filter(|d| matches!(d.to.1, 67 | 68));
            let parsed = datagram.and_then(|d| Some((Answer::parse(&d)?, d)));
            seen.extend(parsed.map(|(answer, datagram)| Seen { datagram, answer }));
        }
        seen
    }

    /// The kinds of the messages seen since the last call, in order.
    pub fn kinds(&self) -> Vec<MessageType> {
        self.take().into_iter().map(|seen| seen.answer.kind()).collect()
    }

    /// Panics if a NAK was on the segment since the last call.
    pub fn assert_no_nak(&self) {
        let kinds = self.kinds();
        assert!(!kinds.contains(&MessageType::Nak), "a NAK on the segment: {kinds:?}");
    }
}
