//! The parameters of the route that matched.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::extract::FromRequestParts;
use super::rejection::Rejection;
use crate::message::{Params, Request};

/// The parameters of the route, percent-decoded and read into a type of yours.
///
/// One parameter may be read as a number, a `bool`, a `char`, a `String` or an enum without data;
/// several as a tuple in the order of the pattern, or as a struct by their names. What does not
/// parse is answered with 400.
///
/// ```
/// use corelane::{App, Path};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Day {
///     year: u16,
///     month: u8,
/// }
///
/// let app = App::new()
///     .get("/users/:id", async |Path(id): Path<u64>| format!("user {id}"))
///     .get("/users/:id/posts/:slug", async |Path((id, slug)): Path<(u64, String)>| {
///         format!("post {slug} of user {id}")
///     })
///     .get("/archive/:year/:month", async |Path(day): Path<Day>| {
///         format!("{}-{:02}", day.year, day.month)
///     })
///     .get("/files/*rest", async |Path(rest): Path<String>| rest);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts for Path<T> {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        match T::deserialize(Parameters { params: request.params() }) {
            Ok(value) => Ok(Self(value)),
            Err(Misfit::Value(message)) => Err(Rejection::bad_request(message)),
            Err(Misfit::Pattern(message)) => Err(Rejection::bug(message)),
        }
    }
}

/// Why parameters could not be read.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    /// The client sent something else: 400.
    #[error("{0}")]
    Value(String),
    /// The handler asks for what the pattern does not have: 500.
    #[error("{0}")]
    Pattern(String),
}

impl Misfit {
    fn of(self, name: &str) -> Self {
        match self {
            Self::Value(message) => Self::Value(format!("path parameter `{name}`: {message}")),
            Self::Pattern(message) => Self::Pattern(message),
        }
    }
}

impl serde::de::Error for Misfit {
    fn custom<T: Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Pattern(format!("the handler asks for `{field}`, which the route does not have"))
    }
}

/// All parameters of a route.
struct Parameters<'a> {
    params: Params<'a>,
}

impl<'a> Parameters<'a> {
    fn expect(&self, count: usize) -> Result<(), Misfit> {
        let there = self.params.iter().len();
        if there == count {
            return Ok(());
        }
        let message =
            format!("the handler asks for {count} path parameters, the route has {there}");
        Err(Misfit::Pattern(message))
    }

    fn single(&self) -> Result<Parameter<'a>, Misfit> {
        self.expect(1)?;
        let (name, value) = self.params.iter().next().unwrap_or_default();
        Parameter::decode(name, value)
    }
}

macro_rules! single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            let parameter = self.single()?;
            let name = parameter.name;
            parameter.$method(visitor).map_err(|misfit| misfit.of(name))
        }
    )*};
}

impl<'de> Deserializer<'de> for Parameters<'_> {
    type Error = Misfit;

    single! {
        deserialize_any deserialize_bool deserialize_char deserialize_str deserialize_string
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_identifier
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let parameter = self.single()?;
        let of = parameter.name;
        parameter.deserialize_enum(name, variants, visitor).map_err(|misfit| misfit.of(of))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_seq(Entries::new(self.params.iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.expect(len)?;
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(Entries::new(self.params.iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }
}

/// The parameters one after the other, with their names or without.
struct Entries<'a, I> {
    rest: I,
    current: Option<(&'a str, &'a str)>,
}

impl<'a, I: Iterator<Item = (&'a str, &'a str)>> Entries<'a, I> {
    fn new(rest: I) -> Self {
        Self { rest, current: None }
    }
}

fn read<'de, S: DeserializeSeed<'de>>(
    seed: S,
    (name, value): (&str, &str),
) -> Result<S::Value, Misfit> {
    seed.deserialize(Parameter::decode(name, value)?).map_err(|misfit| misfit.of(name))
}

impl<'de, 'a, I: Iterator<Item = (&'a str, &'a str)>> SeqAccess<'de> for Entries<'a, I> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        self.rest.next().map(|entry| read(seed, entry)).transpose()
    }
}

impl<'de, 'a, I: Iterator<Item = (&'a str, &'a str)>> MapAccess<'de> for Entries<'a, I> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        self.current = self.rest.next();
        self.current.map(|(name, _)| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let entry = self.current.take().ok_or_else(|| Misfit::custom("a value without a name"))?;
        read(seed, entry)
    }
}

/// One parameter, percent-decoded.
struct Parameter<'a> {
    name: &'a str,
    value: Cow<'a, str>,
}

impl<'a> Parameter<'a> {
    fn decode(name: &'a str, value: &'a str) -> Result<Self, Misfit> {
        // Nearly none has an escape, and then there is nothing to decode or to check again.
        if !value.as_bytes().contains(&b'%') {
            return Ok(Self { name, value: Cow::Borrowed(value) });
        }
        let decoded = if escapes_are_whole(value) {
            percent_decode_str(value).decode_utf8().map_err(|_| "is not UTF-8")
        } else {
            Err("has a `%` without two hexadecimal digits")
        };
        let refuse = |what| Misfit::Value(format!("`{value}` {what}")).of(name);
        decoded.map(|value| Self { name, value }).map_err(refuse)
    }

    fn parse<T: FromStr>(&self, wanted: &str) -> Result<T, Misfit> {
        let refuse = |_| Misfit::Value(format!("`{}` is not a valid {wanted}", self.value));
        self.value.parse().map_err(refuse)
    }
}

fn escapes_are_whole(value: &str) -> bool {
    value
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

macro_rules! parse {
    ($($method:ident $visit:ident $type:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            visitor.$visit(self.parse(stringify!($type))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Parameter<'_> {
    type Error = Misfit;

    parse! {
        deserialize_bool visit_bool bool
        deserialize_char visit_char char
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.value {
            Cow::Borrowed(text) => visitor.visit_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_enum(self.value.into_deserializer())
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
