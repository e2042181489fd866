//! Lists that cannot be empty, because an empty list must never mean "allowed".

/// A list with at least one element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NonEmpty<T>(Box<[T]>);

/// The list has no element.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the list is empty")]
pub struct EmptyList;

impl<T> NonEmpty<T> {
    /// A list of one.
    #[must_use]
    pub fn one(item: T) -> Self {
        Self(Box::new([item]))
    }

    /// Takes the list over.
    ///
    /// # Errors
    /// [`EmptyList`] if there is no element.
    pub fn new(items: Vec<T>) -> Result<Self, EmptyList> {
        if items.is_empty() { Err(EmptyList) } else { Ok(Self(items.into())) }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// The elements as a slice, which is never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: PartialEq> NonEmpty<T> {
    /// Whether `item` is in the list.
    #[must_use]
    pub fn contains(&self, item: &T) -> bool {
        self.0.contains(item)
    }
}
