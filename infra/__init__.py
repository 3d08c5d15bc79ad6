"""What bucketscribe runs on: Google Cloud (`gcp/`), or a laptop (`local`); `operate` is for its operators."""
