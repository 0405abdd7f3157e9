//! Sharing out an exact sum by weights.

/// Shares of `total` in proportion to `weights`, which sum to `total` exactly: each is rounded down,
/// and what is left goes, one each, to those that lost most by it; among equals to the first.
/// Without any weight there are no shares: all zero.
pub(super) fn shares(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u64| (u128::from(total) * u128::from(weight)).div_euclid(sum) as u64;
    let mut shares: Vec<u64> = weights.iter().map(|weight| exact(*weight)).collect();
    let left = total - shares.iter().sum::<u64>();
    let mut by_loss: Vec<usize> = (0..weights.len()).collect();
    by_loss.sort_by_key(|index| std::cmp::Reverse(u128::from(total) * u128::from(weights[*index]) % sum));
    // Rounding down loses less than one a share, so `left` is smaller than the number of shares.
    for index in by_loss.into_iter().take(left as usize) {
        shares[index] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights_and_leave_nothing() {
        for (total, weights, expected) in [
            (100, vec![1, 1, 1], vec![34, 33, 33]),
            (10, vec![1, 2], vec![3, 7]),
            (7, vec![5], vec![7]),
            (0, vec![3, 4], vec![0, 0]),
            (2, vec![1, 1, 1], vec![1, 1, 0]),
            (9, vec![0, 3, 0], vec![0, 9, 0]),
            (u64::MAX, vec![u64::MAX, u64::MAX], vec![u64::MAX / 2 + 1, u64::MAX / 2]),
            (5, vec![], vec![]),
        ] {
            assert_eq!(shares(total, &weights), expected, "{total} by {weights:?}");
        }
    }

    #[test]
    fn any_weights_sum_to_the_total() {
        for total in [1, 999, 10_123_456_789] {
            for n in 1..60u64 {
                let weights: Vec<u64> = (0..n).map(|k| k * k % 17 + 1).collect();
                assert_eq!(shares(total, &weights).iter().sum::<u64>(), total);
            }
        }
    }
}
