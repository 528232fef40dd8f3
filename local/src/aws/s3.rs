//! S3: s3s (signatures, protocol) with s3s-fs (a folder per bucket), with corrections where they differ from AWS.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::{
    error::Error,
    identity::{KEY_PAIRS, secret_of},
    query::query,
};

/// The headers of a cross-origin response that a web page may read.
const EXPOSED_HEADERS: &str =
    "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, Content-Type, ETag, Last-Modified";

pub(super) struct S3(S3Service);

impl S3 {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(root).map_err(|error| Error::new("create the folder", root, error))?;
        let root = root
            .canonicalize()
            .map_err(|error| Error::new("open the folder", root, error))?;
        let files =
            FileSystem::new(&root).map_err(|error| Error::new("open the folder", &root, S3Error::from(error)))?;
        let mut builder = S3ServiceBuilder::new(Objects {
            files,
            root: root.clone(),
        });
        builder.set_auth(Keys);
        builder.set_access(Access { root });
        Ok(Self(builder.build()))
    }

    pub(super) async fn answer(&self, mut request: Request) -> Response {
        let method = request.method().clone();
        let reads_object = matches!(method, Method::GET | Method::HEAD) && has_key(request.uri().path());
        let origin = request.headers().contains_key(header::ORIGIN);
        let known = request.headers().get(header::IF_NONE_MATCH).cloned();
        let wanted = request.headers().get(header::IF_MATCH).cloned();
        if method == Method::OPTIONS {
            return preflight(request.headers());
        }
        if ignored_range(request.headers()) {
            request.headers_mut().remove(header::RANGE);
        }
        let mut response = match self.0.call(request.map(s3s::Body::http_body_unsync)).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                let error: s3s::StdError = error.into();
                self::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string())
            }
        };
        if reads_object
            && response.status().is_success()
            && wanted.is_some_and(|wanted| !names(&wanted, response.headers().get(header::ETAG)))
        {
            let message = "At least one of the pre-conditions you specified did not hold";
            response = self::error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message);
        }
        if reads_object && response.status().is_success() {
            let headers = response.headers_mut();
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("binary/octet-stream"));
            if known.is_some_and(|known| names(&known, headers.get(header::ETAG))) {
                for name in [header::CONTENT_LENGTH, header::CONTENT_RANGE, header::CONTENT_TYPE] {
                    headers.remove(name);
                }
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = Body::empty();
            }
        }
        if origin {
            allow_origin(response.headers_mut());
        }
        response
    }
}

/// The name of a request's operation, for the operations that tests count.
pub(super) fn operation(parts: &Parts) -> &'static str {
    let path = parts.uri.path();
    let bucket = path.len() > 1;
    let has = |name: &str, value: &str| query(parts).any(|(n, v)| n == name && (value.is_empty() || v == value));
    match (parts.method.as_str(), bucket, has_key(path)) {
        ("OPTIONS", ..) => "Preflight",
        ("GET", false, _) => "ListBuckets",
        ("GET", _, false) if has("versions", "") => "ListObjectVersions",
        ("GET", _, false) if has("list-type", "2") => "ListObjectsV2",
        ("GET", _, false) => "ReadBucket",
        ("HEAD", _, false) => "HeadBucket",
        ("PUT", _, false) => "CreateBucket",
        ("DELETE", _, false) => "DeleteBucket",
        ("GET", _, true) if has("uploadId", "") => "ListParts",
        ("GET", _, true) => "GetObject",
        ("HEAD", _, true) => "HeadObject",
        ("PUT", _, true) if has("uploadId", "") => "UploadPart",
        ("PUT", _, true) if parts.headers.contains_key("x-amz-copy-source") => "CopyObject",
        ("PUT", _, true) => "PutObject",
        ("DELETE", _, true) if has("uploadId", "") => "AbortMultipartUpload",
        ("DELETE", _, true) => "DeleteObject",
        ("POST", _, true) if has("uploadId", "") => "CompleteMultipartUpload",
        ("POST", _, true) if has("uploads", "") => "CreateMultipartUpload",
        _ => "Other",
    }
}

/// An error in S3's format.
pub(super) fn error(status: StatusCode, code: &'static str, message: impl Into<String>) -> Response {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, message.into());
    error.set_status_code(status);
    match error.to_http_response() {
        Ok(response) => response.map(Body::new),
        Err(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
    }
}

fn has_key(path: &str) -> bool {
    path.trim_start_matches('/')
        .split_once('/')
        .is_some_and(|(_, key)| !key.is_empty())
}

/// Whether S3 would ignore the range and return the whole object: if it is invalid or has several parts. A signed header must not be removed.
fn ignored_range(headers: &HeaderMap) -> bool {
    let Some(range) = headers.get(header::RANGE) else {
        return false;
    };
    let readable = range.to_str().is_ok_and(|range| Range::parse(range).is_ok());
    !readable && !headers.contains_key(header::AUTHORIZATION)
}

/// Whether an `If-None-Match` header contains this tag.
fn names(condition: &HeaderValue, tag: Option<&HeaderValue>) -> bool {
    let (Ok(condition), Some(Ok(tag))) = (condition.to_str(), tag.map(HeaderValue::to_str)) else {
        return false;
    };
    condition
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    allow_origin(headers);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD"),
    );
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3000"));
    response
}

fn allow_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
}

struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        secret_of(access_key).map(SecretKey::from).ok_or_else(|| {
            let known = KEY_PAIRS.map(|(id, _)| id).join(", ");
            s3_error!(InvalidAccessKeyId, "The local S3 knows the access keys {known} only.")
        })
    }
}

/// Checks before every operation, because s3s-fs writes into buckets that were never created and reads folders as objects.
struct Access {
    root: PathBuf,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let operation = context.s3_op().name();
        let (bucket, key) = match context.s3_path() {
            S3Path::Root => return Ok(()),
            S3Path::Bucket { .. } if operation == "CreateBucket" => return Ok(()),
            S3Path::Bucket { bucket } => (bucket, None),
            S3Path::Object { bucket, key } => (bucket, Some(key)),
        };
        let folder = self.root.join(&**bucket);
        if !tokio::fs::try_exists(&folder).await.unwrap_or(false) {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        }
        let Some(key) = key else { return Ok(()) };
        if key
            .trim_end_matches('/')
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."))
            || key.contains('\0')
        {
            let message =
                "The local S3 stores objects as files: a key cannot contain `//`, NUL, or `.` or `..` as a segment.";
            return Err(s3_error!(InvalidArgument, "{message}"));
        }
        let is_file = || async {
            tokio::fs::metadata(folder.join(&**key))
                .await
                .is_ok_and(|found| found.is_file())
        };
        if matches!(operation, "GetObject" | "HeadObject") && !is_file().await {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        Ok(())
    }
}

struct Objects {
    files: FileSystem,
    root: PathBuf,
}

impl Objects {
    /// The ETag that s3s-fs stores beside an object, if the object was written through s3s-fs.
    fn tag(&self, bucket: &str, key: &str) -> Option<ETag> {
        let [bucket, key] = [bucket, key].map(|name| BASE64_URL_SAFE_NO_PAD.encode(name));
        let text = std::fs::read(self.root.join(format!(".bucket-{bucket}.object-{key}.internal.json"))).ok()?;
        let info: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(ETag::Strong(info.get("e_tag")?.as_str()?.to_owned()))
    }

    /// Corrects ranges: a suffix longer than the object means the whole object, for which s3s-fs would seek before its start. An empty object
    /// has no satisfiable range.
    async fn satisfiable(&self, input: &GetObjectInput) -> S3Result<Option<Range>> {
        let Some(Range::Suffix { length }) = input.range else {
            return Ok(input.range);
        };
        let file = self.root.join(&input.bucket).join(&input.key);
        let size = tokio::fs::metadata(file)
            .await
            .map_err(|error| s3_error!(error, NoSuchKey))?
            .len();
        if size == 0 {
            return Err(s3_error!(InvalidRange, "The requested range is not satisfiable"));
        }
        Ok(Some(Range::Suffix {
            length: length.min(size),
        }))
    }
}

/// Implements s3s's trait for [`Objects`]: the listed operations are forwarded to s3s-fs unchanged.
macro_rules! objects {
    ($($operation:ident($input:ident) -> $output:ident;)*) => {
        #[async_trait::async_trait]
        impl s3s::S3 for Objects {
            $(async fn $operation(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.files.$operation(request).await
            })*

            async fn get_object(&self, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                request.input.range = self.satisfiable(&request.input).await?;
                self.files.get_object(request).await
            }

            /// A bucket without versions: each object has one, called `null`.
            async fn list_object_versions(
                &self,
                request: S3Request<ListObjectVersionsInput>,
            ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
                let ListObjectVersionsInput { bucket, prefix, .. } = request.input.clone();
                let list = ListObjectsV2Input { bucket, prefix, ..ListObjectsV2Input::default() };
                let listed = self.files.list_objects_v2(request.map_input(|_| list)).await?;
                let versions = listed.output.contents.unwrap_or_default().into_iter().map(|object| ObjectVersion {
                    key: object.key,
                    size: object.size,
                    version_id: Some("null".to_owned()),
                    is_latest: Some(true),
                    ..ObjectVersion::default()
                });
                Ok(S3Response::new(ListObjectVersionsOutput {
                    is_truncated: Some(false),
                    versions: Some(versions.collect()),
                    ..ListObjectVersionsOutput::default()
                }))
            }

            async fn list_objects_v2(
                &self,
                request: S3Request<ListObjectsV2Input>,
            ) -> S3Result<S3Response<ListObjectsV2Output>> {
                let bucket = request.input.bucket.clone();
                let mut response = self.files.list_objects_v2(request).await?;
                for object in response.output.contents.iter_mut().flatten() {
                    object.e_tag = object.key.as_deref().and_then(|key| self.tag(&bucket, key));
                }
                Ok(response)
            }
        }
    };
}

objects! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput;
    create_bucket(CreateBucketInput) -> CreateBucketOutput;
    head_bucket(HeadBucketInput) -> HeadBucketOutput;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    list_objects(ListObjectsInput) -> ListObjectsOutput;
    head_object(HeadObjectInput) -> HeadObjectOutput;
    put_object(PutObjectInput) -> PutObjectOutput;
    copy_object(CopyObjectInput) -> CopyObjectOutput;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    upload_part(UploadPartInput) -> UploadPartOutput;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    list_parts(ListPartsInput) -> ListPartsOutput;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
}
