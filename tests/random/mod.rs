//! Random numbers that can be had again: the same for the same seed, on every machine.
#![allow(dead_code, reason = "each of the tests uses its part")]

/// `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    /// From `KUBE_DHCP_TEST_SEED`, or a new one; prints it.
    pub fn seeded() -> Self {
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
        let seed = number("KUBE_DHCP_TEST_SEED").unwrap_or_else(clock);
        println!("KUBE_DHCP_TEST_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// An index into a list of this length; 0 into an empty one.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1).try_into().unwrap())).unwrap()
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.index(100) < chance
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// Another generator, whose numbers depend on this one's seed only.
    pub fn fork(&self, salt: u64) -> Self {
        Self(self.0 ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }
}

/// A number in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
