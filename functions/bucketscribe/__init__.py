"""The map of the house. A room imports only from floors below its own; tests/test_house.py holds that.

    doors      main.py          on_upload, on_page_task, on_dead_letter, sweep: wiring, error -> HTTP status
    the round  resume           what the sweep does: a job that stopped moves again, through the deeds below
               strays           and notes that have outlived their job go
    deeds      fan_out          an uploaded object becomes a job and its page tasks
               transcribe       a page task becomes a page object
               give_up          a dead-lettered task becomes a failed page, or is parked
               redo             pages that are to be read again, in a higher edition
               forget           a deleted source takes its text with it, if so chosen
    the end    finish           when nothing is missing: assemble, publish, announce, close the job
               completion       is anything missing? at a constant number of requests a page
               reopen           a page that ended late: its document is published again
               patience         how long may a job stand still? pauses that grow
    the copy   manuscript       a document's text on its way out: pages read ahead, joined, measured, let go
    the books  jobs             one object a document in flight, replaced by its generation
               ledger           page objects: written once, replaced only by better ones
               publication      a finished document put before its readers: text, record, event
               drawing          a page's image: fetched and drawn in its turn, within the budget
               asking           the model asked for one page until an answer may stand
               notes            one object a difficult page in flight: what its tries have used up
               rejects          what could not be understood, kept under rejected/
    walls      storage          google.cloud.storage
               publisher        google.cloud.pubsub_v1
               identity         google.auth -> an httpx.Auth that carries the OIDC id token
               lightonocr_client  httpx -> one image in, PageText out
               render_pool      worker processes around `render`: one hostile page costs itself
    crafts     render           PDFium and Pillow: count pages, draw one, measure its ink
               quality          is this text a good reading of this page?
               records          jobs, notes, page and document records <-> JSON and object metadata
               published        a document's record -> the job that it ended
               messages         events, push envelopes, page tasks <-> values
               markdown         page text: cleaned, marked, put together, split again
               warm_up          a GPU is woken beside other work, once
               crew             many items, few workers
               turns            whose turn is it at the GPU: express first, one flight a page
               document_cache   a document is fetched once per instance
               budget clock     the time of one delivery; the real time
               settings logs    the environment read once; one JSON line per outcome
    tools      images           Pillow: pictures and TIFFs, frame by frame
               canvas           a drawn page: size, ink, blankness, encoding
               open_documents   PDFium: a document stays open while its pages come
               processes        pebble: worker processes with time and memory limits
               storage_session  urllib3: what the storage client's requests go through
               containment      a page's Markdown kept to its page: fences, tables, links, pictures
    names      layout           object names in the output bucket
    sockets    ports            the outside as Protocols: Bucket, Topic, Reader, Renderer, Clock
    ground     model errors     the frozen values that travel; the error tree

Data's way: main hands an Upload to fan_out, which writes the Job and publishes PageTasks; main hands each
Delivery to transcribe, which ends the page in the ledger; whoever finds nothing missing finishes the
document. The sweep's resume looks through the Jobs, and has fan_out, give_up and finish do what was lost.
"""

__version__ = "0.1.0"
