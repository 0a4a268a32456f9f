//! Things by number, in pieces that a copy shares until one of the two changes them: a frozen picture of a hundred
//! thousand processes costs what has changed since, not all of it at once.

use std::rc::Rc;

/// Things in one piece: what the first change after a copy costs.
const PIECE: usize = 32;

/// The things. A number is used again after what it stood for has been taken out.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    pieces: Vec<Rc<[Option<T>]>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone> Slab<T> {
    /// What a number stands for.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.pieces.get(index as usize / PIECE)?.get(index as usize % PIECE)?.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        Rc::make_mut(self.pieces.get_mut(index as usize / PIECE)?).get_mut(index as usize % PIECE)?.as_mut()
    }

    /// Puts something in; gives its number.
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        if self.free.is_empty() {
            let from = (self.pieces.len() * PIECE) as u32;
            self.pieces.push((0..PIECE).map(|_| None).collect());
            // The lowest comes first.
            self.free.extend((from..from + PIECE as u32).rev());
        }
        let index = self.free.pop().unwrap_or_default();
        let slot = self.pieces.get_mut(index as usize / PIECE).map(Rc::make_mut);
        if let Some(slot) = slot.and_then(|piece| piece.get_mut(index as usize % PIECE)) {
            *slot = Some(thing);
        }
        index
    }

    /// Takes it out.
    pub(super) fn take(&mut self, index: u32) -> Option<T> {
        let piece = self.pieces.get_mut(index as usize / PIECE).map(Rc::make_mut)?;
        let thing = piece.get_mut(index as usize % PIECE)?.take()?;
        self.free.push(index);
        Some(thing)
    }

    /// One more than the highest number there can be.
    pub(super) fn end(&self) -> usize {
        self.pieces.len() * PIECE
    }

    /// All of them with their numbers, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.pieces.iter().flat_map(|piece| piece.iter());
        (0..).zip(slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_copy_shares_what_has_not_changed_and_keeps_what_has() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..PIECE * 3).map(|n| slab.insert(n)).collect();
        let copy = slab.clone();
        *slab.get_mut(numbers[0]).unwrap() = 1000;
        slab.take(numbers[1]);
        assert_eq!((copy.get(numbers[0]), copy.get(numbers[1])), (Some(&0), Some(&1)));
        assert_eq!((slab.get(numbers[0]), slab.get(numbers[1])), (Some(&1000), None));
        let shared = slab.pieces.iter().zip(&copy.pieces).filter(|(a, b)| Rc::ptr_eq(a, b)).count();
        assert_eq!(shared, 2);
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..300)) {
            let (mut slab, mut plain) = (Slab::default(), std::collections::BTreeMap::new());
            for (put, value) in steps {
                if put {
                    let index = slab.insert(value);
                    prop_assert_eq!(plain.insert(index, value), None);
                } else if let Some(index) = plain.keys().nth(usize::from(value) % plain.len().max(1)).copied() {
                    prop_assert_eq!(slab.take(index), plain.remove(&index));
                }
            }
            prop_assert_eq!(slab.iter().map(|(i, v)| (i, *v)).collect::<Vec<_>>(), plain.into_iter().collect::<Vec<_>>());
        }
    }
}
