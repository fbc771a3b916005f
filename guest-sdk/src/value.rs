//! What may stand on the right-hand side of a field.

use std::borrow::Cow;

use glasshouse_wire::Value;

/// A type whose values are field values as they are, without allocation. For any other, write `?value` in a macro for
/// its `Debug` form, or `%value` for its `Display` form.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a field value",
    note = "write `key = ?value` for its `Debug` form or `key = %value` for its `Display` form"
)]
pub trait ToValue {
    /// The value, borrowed.
    fn to_value(&self) -> Value<'_>;
}

impl<T: ToValue + ?Sized> ToValue for &T {
    #[inline]
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue + ?Sized> ToValue for &mut T {
    #[inline]
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue + ?Sized> ToValue for Box<T> {
    #[inline]
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl ToValue for Value<'_> {
    #[inline]
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl ToValue for bool {
    #[inline]
    fn to_value(&self) -> Value<'_> {
        Value::Boolean(*self)
    }
}

macro_rules! text {
    ($($type:ty),+) => {
        $(impl ToValue for $type {
            #[inline]
            fn to_value(&self) -> Value<'_> {
                Value::Text(self)
            }
        })+
    };
}
text!(str, String, Cow<'_, str>);

macro_rules! small_integer {
    ($($type:ty),+) => {
        $(impl ToValue for $type {
            #[inline]
            fn to_value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        })+
    };
}
small_integer!(i8, i16, i32, i64, u8, u16, u32);

/// An integer past the range of `i64` becomes a float, the nearest that there is.
macro_rules! large_integer {
    ($($type:ty),+) => {
        $(impl ToValue for $type {
            #[inline]
            fn to_value(&self) -> Value<'_> {
                i64::try_from(*self).map_or(Value::Float(*self as f64), Value::Integer)
            }
        })+
    };
}
large_integer!(u64, u128, i128, usize, isize);

macro_rules! float {
    ($($type:ty),+) => {
        $(impl ToValue for $type {
            #[inline]
            fn to_value(&self) -> Value<'_> {
                Value::Float(f64::from(*self))
            }
        })+
    };
}
float!(f32, f64);
