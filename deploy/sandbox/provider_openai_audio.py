"""OpenAI's audio transcriptions: platform.openai.com/docs/api-reference/audio."""

import hashlib
import math
import re
import struct
from fnmatch import fnmatchcase

from aiohttp import web

import limits
import multipart
from provider_openai import BASE, Refused, answered, authenticate, tokens_of
from state import STATE

AUDIO_MODELS = {
    "whisper-1": {"json", "text", "srt", "vtt", "verbose_json"},
    "gpt-4o-transcribe": {"json"},
    "gpt-4o-mini-transcribe": {"json"},
    "gpt-transcribe": {"json"},
    "gpt-4o-transcribe-diarize": {"json", "text", "diarized_json"},
}
AUDIO_EXTENSIONS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
AUDIO_FIELDS = {
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "stream",
    "chunking_strategy",
    "known_speaker_names[]",
    "known_speaker_references[]",
    "include[]",
    "languages[]",
    "keywords[]",
}
AUDIO_BITS_PER_S_GUESSED = 64_000  # for the length of what is not WAV


async def audio_form(request):
    if request.content_type != "multipart/form-data":
        raise Refused(
            415,
            f"Unsupported content type: '{request.content_type}'. This API method only accepts "
            "'multipart/form-data' requests.",
            code="unsupported_content_type",
        )
    form = {}
    try:
        parts = multipart.parse(await request.read(), request.headers["Content-Type"])
        for part in parts:
            name = part.name
            if name not in AUDIO_FIELDS:
                raise Refused(400, f"Unknown parameter: '{name}'.", name, "unknown_parameter")
            if (name == "file") != (part.filename is not None):
                raise Refused(
                    400,
                    f"Invalid type for '{name}': `file` is a file with a name, all else is text.",
                    name,
                    "invalid_type",
                )
            if name in form and not name.endswith("[]"):
                raise Refused(400, f"Duplicate parameter: '{name}'.", name, "duplicate_parameter")
            form.setdefault(name, []).append(part if name == "file" else part.text)
    except ValueError as error:
        raise Refused(400, f"Could not parse multipart form: {error}") from error
    return {name: values if name.endswith("[]") else values[0] for name, values in form.items()}


def check_audio_form(form, seconds):
    model = form.get("model")
    if not model:
        raise Refused(400, "you must provide a model parameter", "model")
    if model not in AUDIO_MODELS:
        raise Refused(
            404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
        )
    wanted = form.get("response_format", "json")
    if wanted not in AUDIO_MODELS[model]:
        raise Refused(
            400,
            f"response_format '{wanted}' is not compatible with model '{model}'. Use "
            f"{', '.join(sorted(AUDIO_MODELS[model]))} instead.",
            "response_format",
            "unsupported_value",
        )
    if "timestamp_granularities[]" in form:
        if wanted != "verbose_json":
            raise Refused(
                400,
                "timestamp_granularities needs response_format 'verbose_json'.",
                "timestamp_granularities",
                "invalid_value",
            )
        if set(form["timestamp_granularities[]"]) - {"word", "segment"}:
            raise Refused(
                400, "timestamp_granularities are 'word' and 'segment'.", "timestamp_granularities", "invalid_value"
            )
    if "language" in form and not re.fullmatch(r"[a-z]{2,3}", form["language"]):
        raise Refused(
            400, f"Language '{form['language']}' is not supported: use ISO-639-1.", "language", "unsupported_language"
        )
    try:
        if not 0 <= float(form.get("temperature", "0")) <= 1:
            raise ValueError
    except ValueError:
        raise Refused(
            400, "Invalid value for 'temperature': must be from 0 to 1.", "temperature", "invalid_value"
        ) from None
    if form.get("stream") == "true" and model != "whisper-1":
        raise Refused(501, "The sandbox answers whole: leave out 'stream'.", "stream")
    if form.get("include[]") and (form["include[]"] != ["logprobs"] or wanted != "json"):
        raise Refused(400, "'include' takes 'logprobs', with response_format 'json'.", "include", "invalid_value")
    if model.endswith("diarize"):
        if "prompt" in form:
            raise Refused(400, "prompt is not supported with diarization.", "prompt", "unsupported_parameter")
        if seconds > 30 and "chunking_strategy" not in form:
            raise Refused(
                400,
                "chunking_strategy is required for diarization models.",
                "chunking_strategy",
                "missing_required_parameter",
            )


def wav_seconds(audio):
    """The length of a WAV file from its header; None when it is not one that can be read."""
    at, byte_rate = 12, 0
    while at + 8 <= len(audio):
        name, size = audio[at : at + 4], struct.unpack_from("<I", audio, at + 4)[0]
        if name == b"fmt " and size >= 16 and at + 24 <= len(audio):
            channels, _, byte_rate = struct.unpack_from("<HII", audio, at + 10)
            if channels == 0 or byte_rate == 0:
                return None
        if name == b"data":
            return min(size, len(audio) - at - 8) / byte_rate if byte_rate else None
        at += 8 + size + size % 2
    return None


def audio_seconds(audio):
    """The length of what looks like audio, by its first bytes; None when it does not."""
    if audio[:4] == b"RIFF" and audio[8:12] == b"WAVE":
        return wav_seconds(audio)
    if audio[:4] == b"fLaC":
        return flac_seconds(audio)
    mpeg = audio[:3] == b"ID3" or (len(audio) > 1 and audio[0] == 0xFF and audio[1] & 0xE0 == 0xE0)
    if mpeg or audio[:4] in (b"OggS", b"\x1a\x45\xdf\xa3") or audio[4:8] == b"ftyp":
        return len(audio) * 8 / AUDIO_BITS_PER_S_GUESSED
    return None


def checked_audio(form):
    file = form.get("file")
    if file is None:
        raise Refused(400, "Missing required parameter: 'file'.", "file", "missing_required_parameter")
    extension = file.filename.rpartition(".")[2].lower() if "." in (file.filename or "") else ""
    if extension not in AUDIO_EXTENSIONS:
        raise Refused(
            400, f"Invalid file format. Supported formats: {list(AUDIO_EXTENSIONS)}", "file", "unsupported_format"
        )
    if not re.match(r"(audio|video)/|application/octet-stream$", file.content_type or ""):
        raise Refused(400, f"Invalid content type of the file: '{file.content_type}'.", "file", "invalid_value")
    audio = file.content
    if len(audio) > limits.OPENAI_AUDIO_BYTES_MAX:
        raise Refused(
            413,
            f"Maximum content size limit ({limits.OPENAI_AUDIO_BYTES_MAX}) exceeded ({len(audio)} bytes read)",
            kind="server_error",
        )
    seconds = audio_seconds(audio)
    if not audio or (seconds is not None and seconds < 0.1):
        raise Refused(400, "Audio file is too short. Minimum audio length is 0.1 seconds.", "file", "audio_too_short")
    if seconds is None:
        raise Refused(
            400, "The audio file could not be decoded or its format is not supported.", "file", "invalid_value"
        )
    return audio, file.filename, seconds


def known_by_name(state, filename):
    patterns = (name for name in state.transcripts if name.startswith("name:"))
    return next((state.transcripts[name] for name in patterns if fnmatchcase(filename, name[5:])), None)


def flac_seconds(audio):
    """From STREAMINFO, which is the first block: 20 bits of sample rate, 36 of sample count."""
    if len(audio) < 26:
        return None
    packed = int.from_bytes(audio[18:26], "big")
    rate, samples = packed >> 44, packed & 0xFFFFFFFFF
    return samples / rate if rate else None


def heard(state, audio, filename):
    """What was registered for this audio; nothing is made up, so otherwise nothing was said."""
    known = (
        state.transcripts.get(hashlib.sha256(audio).hexdigest())
        or known_by_name(state, filename)
        or state.transcripts.get("*")
    )
    return known or {"text": "", "segments": [], "language": "english"}


def verbose(known, seconds, granularities):
    answer = {
        "task": "transcribe",
        "language": known["language"],
        "duration": round(seconds, 3),
        "text": known["text"],
        "usage": {"type": "duration", "seconds": math.ceil(seconds)},
    }
    if "segment" in granularities:
        answer["segments"] = [
            {
                "id": number,
                "seek": 0,
                "start": segment["start"],
                "end": segment["end"],
                "text": segment["text"],
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": -0.2,
                "compression_ratio": 1.2,
                "no_speech_prob": 0.01,
            }
            for number, segment in enumerate(known["segments"])
        ]
    if "word" in granularities:
        answer["words"] = [word for segment in known["segments"] for word in words_of(segment)]
    return answer


def words_of(segment):
    """The segment's words, spread evenly over its time."""
    words = segment["text"].split()
    step = (segment["end"] - segment["start"]) / max(1, len(words))
    return [
        {
            "word": word,
            "start": round(segment["start"] + number * step, 3),
            "end": round(segment["start"] + (number + 1) * step, 3),
        }
        for number, word in enumerate(words)
    ]


def subtitles(known, vtt):
    def stamp(seconds):
        milliseconds = round(seconds * 1000)
        point = "." if vtt else ","
        return (
            f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:{milliseconds // 1000 % 60:02}"
            f"{point}{milliseconds % 1000:03}"
        )

    blocks = [
        f"{'' if vtt else f'{number + 1}' + chr(10)}{stamp(segment['start'])} --> {stamp(segment['end'])}\n"
        f"{segment['text']}\n"
        for number, segment in enumerate(known["segments"])
    ]
    return ("WEBVTT\n\n" if vtt else "") + "\n".join(blocks)


def transcribed(form, known, seconds):
    wanted = form.get("response_format", "json")
    if wanted == "text":
        return web.Response(text=known["text"] + "\n")
    if wanted in ("srt", "vtt"):
        return web.Response(text=subtitles(known, wanted == "vtt"))
    if wanted == "verbose_json":
        return answered(verbose(known, seconds, form.get("timestamp_granularities[]", ["segment"])))
    if wanted == "diarized_json":
        names = {}
        for segment in known["segments"]:
            names.setdefault(segment.get("speaker", ""), chr(ord("A") + len(names)))
        return answered(
            {
                "task": "transcribe",
                "duration": round(seconds, 3),
                "text": known["text"],
                "segments": [
                    {
                        "type": "transcript.text.segment",
                        "id": f"seg_{number}",
                        "start": segment["start"],
                        "end": segment["end"],
                        "text": segment["text"],
                        "speaker": names[segment.get("speaker", "")],
                    }
                    for number, segment in enumerate(known["segments"])
                ],
                "usage": {"type": "duration", "seconds": math.ceil(seconds)},
            }
        )
    tokens = tokens_of(known["text"])
    usage = (
        {"type": "duration", "seconds": math.ceil(seconds)}
        if form["model"] == "whisper-1"
        else {
            "type": "tokens",
            "input_tokens": math.ceil(seconds * 10),
            "output_tokens": tokens,
            "total_tokens": math.ceil(seconds * 10) + tokens,
            "input_token_details": {"text_tokens": 0, "audio_tokens": math.ceil(seconds * 10)},
        }
    )
    return answered({"text": known["text"], "usage": usage})


async def transcriptions(request):
    state = request.app[STATE]
    try:
        authenticate(state, request)
        form = await audio_form(request)
        audio, filename, seconds = checked_audio(form)
        check_audio_form(form, seconds)
    except Refused as refused:
        return refused.response
    return transcribed(form, heard(state, audio, filename), seconds)


routes = [web.post(BASE + "/audio/transcriptions", transcriptions)]
