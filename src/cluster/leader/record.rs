//! What a leader's Lease says, and what to do about it. Pure: times are arguments.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// What to do about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is nobody's, or its holder let it expire.
    Acquire,
    /// It is ours.
    Renew,
    /// It is somebody else's for at least this time, unless renewed.
    Wait(Duration),
}

/// The record as it was seen last, and when it was first seen so.
#[derive(Debug, Default)]
pub(super) struct Observed(Option<(LeaseSpec, Instant)>);

impl Observed {
    /// The holder's clock and ours may differ, so `renewTime` is never compared with anything but its
    /// last value.
    pub(super) fn see(&mut self, record: &LeaseSpec, now: Instant) -> Duration {
        match &self.0 {
            Some((seen, since)) if seen == record => now.saturating_duration_since(*since),
            _ => {
                self.0 = Some((record.clone(), now));
                Duration::ZERO
            }
        }
    }
}

/// `unchanged`: for how long we have seen the record as it is. `duration`: for a record without one.
pub(super) fn decide(
    record: &LeaseSpec,
    identity: &str,
    unchanged: Duration,
    duration: Duration,
) -> Decision {
    let holder = record.holder_identity.as_deref().unwrap_or_default();
    let own = record.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    match own.map_or(duration, Duration::from_secs).checked_sub(unchanged) {
        _ if holder == identity => Decision::Renew,
        Some(rest) if !holder.is_empty() && !rest.is_zero() => Decision::Wait(rest),
        _ => Decision::Acquire,
    }
}

/// The record of `identity` as holder from now on.
pub(super) fn claimed(old: &LeaseSpec, identity: &str, duration: Duration, now: Timestamp) -> LeaseSpec {
    let renewed = old.holder_identity.as_deref() == Some(identity);
    let before = old.holder_identity.is_some();
    let transitions = old.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(seconds(duration)),
        acquire_time: old.acquire_time.clone().filter(|_| renewed).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions.saturating_add(i32::from(before && !renewed))),
        ..old.clone()
    }
}

/// The record of nobody, for whoever looks next.
pub(super) fn released(old: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..old.clone()
    }
}

/// Rounded up: who waits for longer than the holder thinks does no harm.
fn seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_record(holder: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_from_nobody_or_when_it_stood_still_for_its_own_duration() {
        let wait = |seconds| Decision::Wait(Duration::from_secs(seconds));
        for (holder, seconds, unchanged, wanted) in [
            ("", 15, 0, Decision::Acquire),
            ("other", 15, 0, wait(15)),
            ("other", 15, 14, wait(1)),
            ("other", 15, 15, Decision::Acquire),
            ("other", 40, 15, wait(25)),
            ("other", 0, 0, Decision::Acquire),
            ("other", -1, 0, wait(15)),
            ("us", 15, 0, Decision::Renew),
            ("us", 15, 99, Decision::Renew),
        ] {
            let unchanged = Duration::from_secs(unchanged);
            let found = decide(&mk_record(holder, seconds), "us", unchanged, Duration::from_secs(15));
            assert_eq!(found, wanted, "{holder} {seconds} {unchanged:?}");
        }
        let empty = decide(&LeaseSpec::default(), "us", Duration::ZERO, Duration::from_secs(15));
        assert_eq!(empty, Decision::Acquire);
    }

    #[test]
    fn a_record_ages_from_when_it_was_first_seen_until_it_changes() {
        let (start, mut observed) = (Instant::now(), Observed::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut record = mk_record("other", 15);
        // Whatever its holder's clock says.
        record.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert_eq!(observed.see(&record, at(0)), Duration::ZERO);
        assert_eq!(observed.see(&record, at(9)), Duration::from_secs(9));
        record.renew_time = Some(MicroTime(Timestamp::MAX));
        assert_eq!(observed.see(&record, at(10)), Duration::ZERO);
        assert_eq!(observed.see(&record, at(25)), Duration::from_secs(15));
    }

    #[test]
    fn a_record_says_since_when_it_is_whose() {
        let (t1, t2) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let duration = Duration::from_millis(14_001);
        let first = claimed(&LeaseSpec::default(), "a", duration, t1);
        assert_eq!((first.lease_transitions, first.lease_duration_seconds), (Some(0), Some(15)));
        let second = claimed(&first, "a", duration, t2);
        assert_eq!(
            (second.acquire_time.clone(), second.renew_time.clone()),
            (Some(MicroTime(t1)), Some(MicroTime(t2)))
        );
        assert_eq!(second.lease_transitions, Some(0));
        let other = claimed(&second, "b", duration, t2);
        assert_eq!((other.lease_transitions, other.acquire_time.clone()), (Some(1), Some(MicroTime(t2))));
        let free = released(&other, t2);
        assert_eq!((free.holder_identity.as_deref(), free.lease_duration_seconds), (Some(""), Some(1)));
        assert_eq!(claimed(&free, "c", duration, t2).lease_transitions, Some(2));
    }
}
