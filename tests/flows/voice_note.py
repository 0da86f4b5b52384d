"""Voice notes as WhatsApp has them, Opus in Ogg, and a Twilio that gives them out."""

import base64
import ctypes
import ctypes.util
import io
import tempfile
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OGG_OPUS = 0x200000 | 0x0064
SFM_WRITE = 0x20


class Info(ctypes.Structure):
    _fields_ = [("frames", ctypes.c_int64), ("rate", ctypes.c_int), ("channels", ctypes.c_int), ("format", ctypes.c_int),
                ("sections", ctypes.c_int), ("seekable", ctypes.c_int)]


def opus(wav):
    """The same sound as a voice note."""
    with wave.open(io.BytesIO(wav)) as file:
        rate, channels, samples = file.getframerate(), file.getnchannels(), file.readframes(file.getnframes())
    sndfile = ctypes.CDLL(ctypes.util.find_library("sndfile"))
    sndfile.sf_open.restype = ctypes.c_void_p
    sndfile.sf_writef_short.restype = ctypes.c_int64
    info = Info(rate=rate, channels=channels, format=OGG_OPUS)
    with tempfile.NamedTemporaryFile(suffix=".ogg") as file:
        sound = ctypes.c_void_p(sndfile.sf_open(file.name.encode(), SFM_WRITE, ctypes.byref(info)))
        assert sound, "libsndfile cannot write Opus"
        frames = len(samples) // 2 // channels
        assert sndfile.sf_writef_short(sound, samples, ctypes.c_int64(frames)) == frames
        sndfile.sf_close(sound)
        return open(file.name, "rb").read()


class Twilio:
    """Media behind basic auth, told by their path, and what each request carried."""

    def __init__(self, account, token):
        self.media = {}         # path: what is answered next, in turn; the last one stays: (status, headers, body)
        self.asked = []         # (path, authorization)
        self.wanted = "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()
        self.lock = threading.Lock()
        twilio = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                given = self.headers.get("Authorization")
                with twilio.lock:
                    twilio.asked.append((self.path, given))
                    answers = twilio.media.get(self.path, [(404, {}, b"")])
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                status, headers, body = answer if given == twilio.wanted or not self.path.startswith("/2010") else (401, {}, b"")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = "http://" + self.address
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def has(self, sid, *answers):
        """A note, and how it is answered; gives its address."""
        path = f"/2010-04-01/Accounts/AC1/Messages/{sid}/Media/ME1"
        self.media[path] = [answer if isinstance(answer, tuple) else (200, {"Content-Type": "audio/ogg"}, answer) for answer in answers]
        return self.url + path

    def times(self, sid):
        return sum(f"/{sid}/" in path for path, _ in self.asked)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
