//! Gathering the bodies of requests, to be read strictly (`rules::body`).

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::extract::{Extension, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::model::{Secret, Source};
use crate::rules::body::{BODY_MAX, FORM, Form, JSON, Object, Unreadable, is_of_type};
use crate::token_api::words::Complaint;

/// A parameter that the operation needs.
pub(crate) fn parameter<'f>(form: &'f Form, name: &str) -> Result<&'f Secret, Complaint> {
    form.value(name).ok_or(Complaint::ParameterMissing)
}

/// Where the gateway says that the request comes from. Whoever comes without its word shares one budget with all the others.
pub(crate) fn source(from: Option<Extension<Source>>) -> Source {
    from.map_or(Source::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |Extension(source)| source)
}

/// Reads a form.
pub(crate) async fn form(request: Request) -> Result<(Parts, Form), Unreadable> {
    let (parts, text) = body(request, &[FORM]).await?;
    Ok((parts, Form::parse(&text)?))
}

/// Reads a JSON object.
pub(crate) async fn json(request: Request) -> Result<Object, Unreadable> {
    Object::parse(&json_text(request).await?.1)
}

/// The text of a JSON body, to be parsed once whoever sent it is known.
pub(crate) async fn json_text(request: Request) -> Result<(Parts, String), Unreadable> {
    body(request, &[JSON]).await
}

/// Reads a JSON object that may come without a type, or under that of a form: tools that send JSON without being told so label
/// it as one. Safe only where no cookie is looked at, because a page of another origin can send such a body unasked.
pub(crate) async fn json_however_labelled(request: Request) -> Result<Object, Unreadable> {
    let labelled = request.headers().contains_key(CONTENT_TYPE);
    let types: &[&str] = if labelled { &[JSON, FORM] } else { &[] };
    let is_form = is_of_type(request.headers(), &[FORM]);
    let (_, text) = body(request, types).await?;
    // Under any other label than its own it must at least look like one.
    if (!labelled || is_form) && !text.starts_with('{') {
        return Err(if text.is_empty() { Unreadable::Malformed } else { Unreadable::MediaType });
    }
    Object::parse(&text)
}

/// The body, if it is of one of these types; without any, of a request that names none.
async fn body(request: Request, types: &[&str]) -> Result<(Parts, String), Unreadable> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(CONTENT_ENCODING) || !(types.is_empty() || is_of_type(&parts.headers, types)) {
        return Err(Unreadable::MediaType);
    }
    let bytes = collect(body).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Unreadable::Malformed)?.to_owned();
    Ok((parts, text))
}

async fn collect(body: Body) -> Result<axum::body::Bytes, Unreadable> {
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unreadable::TooLarge),
        Err(_) => Err(Unreadable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
        let mut request = Request::new(body.into());
        for (name, value) in headers {
            request.headers_mut().append(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                axum::http::HeaderValue::from_str(value).unwrap(),
            );
        }
        request
    }

    async fn read_json(body: impl Into<Body>) -> Result<Object, Unreadable> {
        json(request(&[("content-type", "application/json")], body)).await
    }

    #[tokio::test]
    async fn what_is_not_utf_8_is_refused() {
        assert_eq!(read_json(&b"{\"a\":\"\xff\"}"[..]).await.unwrap_err(), Unreadable::Malformed);
    }

    #[tokio::test]
    async fn another_type_charset_or_encoding_is_not_read() {
        let unread: [&[(&str, &str)]; 7] = [
            &[],
            &[("content-type", "text/plain")],
            &[("content-type", "application/json; charset=utf-16")],
            &[("content-type", "application/jsonx")],
            &[("content-type", "application/json"), ("content-type", "application/json")],
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            &[("content-type", "application/json"), ("content-encoding", "identity")],
        ];
        for headers in unread {
            assert_eq!(json(request(headers, "{}")).await.unwrap_err(), Unreadable::MediaType, "{headers:?}");
        }
        let read = [("content-type", "Application/JSON ; charset=\"UTF-8\"")];
        assert!(json(request(&read, "{}")).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_of_16_kib_is_read_and_a_byte_more_is_not() {
        let body = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
        assert!(read_json(body(BODY_MAX)).await.is_ok());
        assert_eq!(read_json(body(BODY_MAX + 1)).await.unwrap_err(), Unreadable::TooLarge);
    }
}
