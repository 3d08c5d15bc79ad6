"""Every error that crosses a border of the house. The tree:

    BucketscribeError
    ├── SettingsError               what is missing or wrong in the environment, all of it at once
    ├── MessageError
    │   ├── JunkMessage             no page task and no event: kept under rejected/, acknowledged
    │   └── NewerMessage            of a newer schema or profile: a newer worker will take it
    ├── DocumentError               the document ends failed, with this code
    │   ├── UnsupportedType, EmptyObject, NameTooLong, TooLarge
    │   ├── DocumentEncrypted, DocumentCorrupt, DocumentWithoutPages, TooManyPages
    │   ├── SourceGone              also a page's error, when the source goes half-way
    │   └── AttemptsExhausted       nobody could open it in all its time; also a page's error
    ├── Superseded                  a newer generation is live: nothing is published
    ├── RenderError                 the page may still have a text layer, else it ends failed
    │   └── PageRenderFailed, PageRenderCrashed, PageRenderTimeout
    ├── LightOnOCRError
    │   ├── ModelUnavailable        the service's trouble: wait and ask again
    │   │   └── ModelBusy, ModelCold, AuthDenied
    │   ├── ModelTimeout            the page's trouble or the service's: at most two, remembered
    │   └── ModelRejected           the server has read the request and refuses it
    ├── OutOfTime                   no time is left for a model call: refused, asked again later
    ├── RedoRefused                 there is nothing to redo, or nothing to redo it from
    ├── WriteConflict               somebody else wrote first (412)
    │   └── PageReplaced            a page's object is another one than was listed: list again
    ├── Unreadable                  a stranger has written where ours should stand: it is to be deleted
    │   └── UnreadableJob, UnreadablePage
    └── CloudError                  another try may help
        └── StorageUnavailable, PublishFailed

An error carries its `code` (the failure table's word, which also stands in records and logs) and one
message: what we were doing, on which thing, what came back, what to do next. Nobody decides by a message's
text. Errors cross process borders, so each is made from its message alone.
"""

from typing import ClassVar


class BucketscribeError(Exception):
    """Base of every error of ours; `code` is stable, the message is for people."""

    code: ClassVar[str] = "unknown"


class SettingsError(BucketscribeError):
    code = "settings"


class MessageError(BucketscribeError):
    code = "message"


class JunkMessage(MessageError):
    code = "junk_message"


class NewerMessage(MessageError):
    code = "newer_message"


class DocumentError(BucketscribeError):
    """The document ends with status `failed`; another try cannot help."""

    code = "document"


class UnsupportedType(DocumentError):
    code = "unsupported_type"


class EmptyObject(DocumentError):
    code = "empty_object"


class NameTooLong(DocumentError):
    code = "name_too_long"


class TooLarge(DocumentError):
    code = "too_large"


class DocumentEncrypted(DocumentError):
    code = "document_encrypted"


class DocumentCorrupt(DocumentError):
    code = "document_corrupt"


class DocumentWithoutPages(DocumentError):
    code = "document_without_pages"


class TooManyPages(DocumentError):
    code = "too_many_pages"


class SourceGone(DocumentError):
    code = "source_gone"


class AttemptsExhausted(DocumentError):
    code = "attempts_exhausted"


class Superseded(BucketscribeError):
    code = "superseded"


class RenderError(BucketscribeError):
    """One page could not be drawn; its neighbours are not concerned."""

    code = "page_render_failed"


class PageRenderFailed(RenderError):
    code = "page_render_failed"


class PageRenderCrashed(RenderError):
    code = "page_render_crashed"


class PageRenderTimeout(RenderError):
    code = "page_render_timeout"


class LightOnOCRError(BucketscribeError):
    """Base of what the OCR service's client raises."""

    code = "model"


class ModelUnavailable(LightOnOCRError):
    """The service, not the page, is the trouble: infrastructure's clock."""

    code = "model_unavailable"


class ModelBusy(ModelUnavailable):
    code = "model_busy"


class ModelCold(ModelUnavailable):
    code = "model_cold"


class AuthDenied(ModelUnavailable):
    code = "auth_denied"


class ModelTimeout(LightOnOCRError):
    code = "model_timeout"


class ModelRejected(LightOnOCRError):
    code = "model_rejected"


class OutOfTime(BucketscribeError):
    code = "out_of_time"


class RedoRefused(BucketscribeError):
    code = "redo_refused"


class WriteConflict(BucketscribeError):
    code = "write_conflict"


class PageReplaced(WriteConflict):
    code = "page_replaced"


class Unreadable(BucketscribeError):
    """An object that only this house writes holds something else."""

    code = "unreadable"


class UnreadableJob(Unreadable):
    code = "unreadable_job"


class UnreadablePage(Unreadable):
    code = "unreadable_page"


class CloudError(BucketscribeError):
    """A Google API that another try may find well again."""

    code = "cloud"


class StorageUnavailable(CloudError):
    code = "storage_unavailable"


class PublishFailed(CloudError):
    code = "publish_failed"
