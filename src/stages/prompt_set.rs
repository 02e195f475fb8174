//! Sets of prompts, by their place in a prompt set: which of them flipped, which collapsed.

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptSet(Vec<u64>);

impl PromptSet {
    /// Adds a prompt.
    pub fn insert(&mut self, prompt: usize) {
        let word = prompt / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (prompt % 64);
    }

    /// The prompts, increasing.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (self.0.iter().enumerate()).flat_map(|(place, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(place * 64 + bit)
            })
        })
    }

    /// Those that are not in another set.
    pub fn without(&self, other: &Self) -> Self {
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        Self(self.0.iter().zip(others).map(|(a, b)| a & !b).collect())
    }

    /// How many prompts.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it holds no prompt.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<usize> for PromptSet {
    fn from_iter<I: IntoIterator<Item = usize>>(prompts: I) -> Self {
        let mut set = Self::default();
        prompts.into_iter().for_each(|prompt| set.insert(prompt));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let set: PromptSet = [3, 64, 0, 200, 3].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 64, 200]);
        assert_eq!(set.len(), 4);
        let fewer = set.without(&[64, 5].into_iter().collect());
        assert_eq!(fewer.iter().collect::<Vec<_>>(), [0, 3, 200]);
        assert!(PromptSet::default().is_empty() && !set.is_empty());
    }
}
