//! Numbers that are as good as random, and the same in every run.
//!
//! Must never know: what is drawn.

/// A mix of three numbers.
pub fn mix(kind: u64, number: u32, salt: u64) -> u64 {
    let mut x = (kind + 1) << 56 ^ u64::from(number) << 16 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    x
}

/// One of several.
pub fn pick<T>(from: &[T], dice: u64) -> &T {
    &from[(dice % from.len() as u64) as usize]
}
