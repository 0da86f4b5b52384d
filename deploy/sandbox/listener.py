"""Hears what is said in a recording: PocketSphinx, libsndfile and soxr, the C libraries the daemons are built with.

Each channel is cut into utterances at its pauses, by energy; each utterance is decoded on its own.  The model is loaded
with the first recording.  Listening takes a core, so there is one decoder, and whoever calls does so on a thread of its
own."""

import array
import ctypes
import ctypes.util
import functools
import json
import os
import tempfile
import threading

import limits

RATE_HZ = 16_000
FRAME_S = 0.02
PAUSE_S = 0.4  # of quiet ends an utterance
MARGIN_S = 0.1  # of quiet around it
LOUD_SHARE = 0.08  # of the loudest frame's energy, as an amplitude
SFM_READ = 0x10
MODEL_DIR = os.environ.get("POCKETSPHINX_MODEL_DIR", "/usr/share/pocketsphinx/model/en-us")
MODEL = {"hmm": "en-us", "lm": "en-us.lm.bin", "dict": "cmudict-en-us.dict"}
SPEED = {"topn": "2", "maxhmmpf": "5000"}  # as transcribe/local.c


class CannotHear(Exception):
    """The recording, or this machine, is not one that can be listened with; the text says why."""


class SoundInfo(ctypes.Structure):
    _fields_ = [
        ("frames", ctypes.c_int64),
        ("samplerate", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("format", ctypes.c_int),
        ("sections", ctypes.c_int),
        ("seekable", ctypes.c_int),
    ]


@functools.cache
def library(name):
    found = ctypes.util.find_library(name)
    if found is None:
        raise CannotHear(f"lib{name} is not installed: run `make deps`")
    return ctypes.CDLL(found)


# --- samples ------------------------------------------------------------------


def samples_of(audio):
    """Each channel as 16-bit samples at RATE_HZ."""
    sndfile, info = library("sndfile"), SoundInfo()
    sndfile.sf_open.restype = ctypes.c_void_p
    sndfile.sf_readf_short.restype = ctypes.c_int64
    with tempfile.NamedTemporaryFile() as file:
        file.write(audio)
        file.flush()
        sound = sndfile.sf_open(file.name.encode(), SFM_READ, ctypes.byref(info))
        if not sound:
            raise CannotHear("the recording is not audio that can be read")
        try:
            if info.channels > 2 or info.frames > limits.SHUNYA_AUDIO_S_MAX * info.samplerate:
                raise CannotHear(f"only mono and stereo of at most {limits.SHUNYA_AUDIO_S_MAX} s is taken")
            buffer = (ctypes.c_int16 * max(1, info.frames * info.channels))()
            got = sndfile.sf_readf_short(ctypes.c_void_p(sound), buffer, ctypes.c_int64(info.frames))
        finally:
            sndfile.sf_close(ctypes.c_void_p(sound))
    whole = array.array("h", bytes(buffer)[: 2 * got * info.channels])
    return [resampled(whole[channel :: info.channels], info.samplerate) for channel in range(info.channels)]


def resampled(samples, rate_hz):
    if rate_hz == RATE_HZ or not samples:
        return samples
    soxr = library("soxr")
    soxr.soxr_oneshot.restype = ctypes.c_char_p
    soxr.soxr_io_spec.restype = IoSpec
    source, made = (ctypes.c_int16 * len(samples)).from_buffer(samples), ctypes.c_size_t()
    room = int(len(samples) * RATE_HZ / rate_hz) + RATE_HZ
    result = (ctypes.c_int16 * room)()
    form = soxr.soxr_io_spec(3, 3)  # SOXR_INT16_I
    error = soxr.soxr_oneshot(
        ctypes.c_double(rate_hz), ctypes.c_double(RATE_HZ), 1, source, ctypes.c_size_t(len(samples)), None,
        result, ctypes.c_size_t(room), ctypes.byref(made), ctypes.byref(form), None, None,
    )  # fmt: skip
    if error:
        raise CannotHear(f"the recording could not be resampled: {error.decode()}")
    return array.array("h", bytes(result)[: 2 * made.value])


class IoSpec(ctypes.Structure):
    _fields_ = [
        ("itype", ctypes.c_int),
        ("otype", ctypes.c_int),
        ("scale", ctypes.c_double),
        ("e", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
    ]


def utterances_of(samples):
    """(first sample, last) of each stretch in which somebody speaks."""
    frame = int(RATE_HZ * FRAME_S)
    levels = [max(map(abs, samples[at : at + frame]), default=0) for at in range(0, len(samples), frame)]
    least = max(200, LOUD_SHARE * max(levels, default=0))
    loud = [number for number, level in enumerate(levels) if level > least]
    found, margin = [], int(MARGIN_S / FRAME_S)
    for number in loud:
        if found and number - found[-1][1] <= PAUSE_S / FRAME_S:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [(max(0, first - margin) * frame, min(len(samples), (last + 1 + margin) * frame)) for first, last in found]


# --- words --------------------------------------------------------------------


class Decoder:
    """PocketSphinx 5prealpha (Debian 12) or 5.0: they are set up differently, and used alike."""

    def __init__(self):
        paths = {name: os.path.join(MODEL_DIR, file) for name, file in MODEL.items()}
        missing = [path for path in paths.values() if not os.path.exists(path)]
        if missing:
            raise CannotHear(f"PocketSphinx's model {missing[0]} is not there: install pocketsphinx-en-us")
        self.library = library("pocketsphinx")
        self.library.ps_init.restype = ctypes.c_void_p
        self.library.ps_get_hyp.restype = ctypes.c_char_p
        config = self.config({**paths, **SPEED})
        self.decoder = ctypes.c_void_p(self.library.ps_init(config))
        if not self.decoder:
            raise CannotHear("PocketSphinx could not load its model")

    def config(self, values):
        if hasattr(self.library, "ps_config_parse_json"):
            self.library.err_set_loglevel_str(b"ERROR")
            self.library.ps_config_parse_json.restype = ctypes.c_void_p
            return ctypes.c_void_p(self.library.ps_config_parse_json(None, json.dumps(values).encode()))
        base = library("sphinxbase")
        base.err_set_logfp(None)
        base.cmd_ln_init.restype = ctypes.c_void_p
        self.library.ps_args.restype = ctypes.c_void_p
        words = [word for name, value in {**values, "remove_silence": "no"}.items() for word in ("-" + name, value)]
        arguments = [ctypes.c_char_p(word.encode()) for word in words]
        return ctypes.c_void_p(
            base.cmd_ln_init(None, ctypes.c_void_p(self.library.ps_args()), ctypes.c_int(1), *arguments, None)
        )

    def words(self, samples):
        buffer = (ctypes.c_int16 * len(samples)).from_buffer(samples)
        self.library.ps_start_stream(self.decoder)
        self.library.ps_start_utt(self.decoder)
        self.library.ps_process_raw(self.decoder, buffer, ctypes.c_size_t(len(samples)), 0, 1)
        self.library.ps_end_utt(self.decoder)
        said = self.library.ps_get_hyp(self.decoder, None)
        return said.decode("utf-8", "replace").strip() if said else ""


class Listener:
    def __init__(self):
        self.lock = threading.Lock()
        self.decoder = None

    def hear(self, audio):
        """[{speaker, start_s, end_s, text}] by time: agent left, customer right; in mono nobody can be told apart."""
        channels = samples_of(audio)
        names = ("speaker",) if len(channels) == 1 else ("agent", "customer")
        segments = []
        with self.lock:
            for name, samples in zip(names, channels):
                for first, last in utterances_of(samples):
                    self.decoder = self.decoder or Decoder()
                    text = self.decoder.words(samples[first:last])
                    if text:
                        start_s, end_s = round(first / RATE_HZ, 2), round(last / RATE_HZ, 2)
                        segments.append({"speaker": name, "start_s": start_s, "end_s": end_s, "text": text})
        return sorted(segments, key=lambda segment: segment["start_s"])
