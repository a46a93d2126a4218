//! Parts of answers.

use super::*;
use crate::app::{ByteRange, ETag};

#[test]
fn express_res_attachment_and_ranges() {
    let app = App::new()
        .any("/tagged", async |range: ByteRange| {
            range.of("0123456789", &ETag::strong("v")).with_attachment("digits.txt")
        })
        .get("/bare", async |range: ByteRange| range.of("0123456789", None));
    let all = "0123456789";
    let table: &[(&str, &str, Sent<'_>, u16, &str, &str)] = &[
        ("GET", "/bare", &[], 200, "", all),
        ("GET", "/bare", &[("range", "bytes=2-4")], 206, "bytes 2-4/10", "234"),
        ("GET", "/bare", &[("range", "bytes=-3")], 206, "bytes 7-9/10", "789"),
        ("GET", "/bare", &[("range", "bytes=8-")], 206, "bytes 8-9/10", "89"),
        ("GET", "/bare", &[("range", "bytes=10-")], 416, "bytes */10", "416 Range Not Satisfiable"),
        ("GET", "/bare", &[("range", "bytes=0-1,4-5")], 200, "", all),
        ("GET", "/bare", &[("range", "bytes=x")], 200, "", all),
        ("GET", "/bare", &[("range", "bytes=0-1"), ("range", "bytes=0-1")], 200, "", all),
        ("GET", "/bare", &[("range", "bytes=0-1"), ("if-range", r#""v""#)], 200, "", all),
        (
            "GET",
            "/tagged",
            &[("range", "bytes=0-1"), ("if-range", r#""v""#)],
            206,
            "bytes 0-1/10",
            "01",
        ),
        ("GET", "/tagged", &[("range", "bytes=0-1"), ("if-range", r#""w""#)], 200, "", all),
        ("POST", "/tagged", &[("range", "bytes=0-1")], 200, "", all),
    ];
    for (method, path, headers, status, range, body) in table {
        let response = answer(&app, request(method, path, headers, Body::empty()));
        assert_eq!(response.status(), *status, "{method} {path} {headers:?}");
        assert_eq!(header(&response, "content-range"), *range, "{method} {path} {headers:?}");
        assert_eq!(text(&response), *body, "{method} {path} {headers:?}");
        assert_eq!(header(&response, "accept-ranges"), "bytes");
        let etag = if *path == "/tagged" { r#""v""# } else { "" };
        assert_eq!(header(&response, "etag"), etag);
    }
    let saved = answer(&app, request("GET", "/tagged", &[], Body::empty()));
    assert_eq!(header(&saved, "content-disposition"), r#"attachment; filename="digits.txt""#);
}
