"""What strangers have in the place of a file."""

LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
ANNEX = b"/annex/objects/SHA256E-s12345--4d7a214614ab.npz\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>...</body></html>\n"
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
NOT_FOUND = b"Entry not found"

STAND_INS = {"lfs": LFS, "annex": ANNEX, "html": HTML, "xml": XML, "text": NOT_FOUND, "empty": b""}
