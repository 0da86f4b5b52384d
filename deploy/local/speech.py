"""Speaks a telephone call with flite: the agent on the left channel, the customer on the right.

The voices and the plain words are those PocketSphinx understands; 16 kHz is what its English model was made for."""

import array
import io
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

SAMPLE_RATE_HZ = 16_000
PAUSE_S = 0.6  # between two who take turns
SPEAK_TIMEOUT_S = 30
VOICES = {"agent": "rms", "customer": "awb"}

BOOKED_CALL = (
    ("agent", "Good morning, and thank you for calling. How can I help you?"),
    ("customer", "Hello. My water heater is leaking, and I need some help."),
    ("agent", "I am sorry to hear that. What is your address?"),
    ("customer", "It is twenty five Oak Street."),
    ("agent", "I see. It costs eighty dollars. Robert can come on Tuesday at ten o'clock."),
    ("customer", "That sounds too expensive. But I need it, so please come."),
    ("agent", "You are booked for Tuesday at ten o'clock. Thank you, and goodbye."),
    ("customer", "Thank you very much. Goodbye."),
)

PRICE_CALL = (
    ("agent", "Good morning, and thank you for calling. How can I help you?"),
    ("customer", "Hello. How much does it cost to repair a water heater?"),
    ("agent", "It costs nine hundred dollars. What is your name?"),
    ("customer", "My name is Brian. Nine hundred dollars is too expensive."),
    ("agent", "I see. You can call us any time. Thank you, and goodbye."),
    ("customer", "Thank you. Goodbye."),
)


class CannotSpeak(Exception):
    pass


@dataclass
class SpokenCall:
    wav: bytes
    seconds: float
    segments: list  # {speaker, start, end, text}: what was really said, and when


def samples_of(voice, text):
    """One voice saying one thing, as 16-bit samples."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        try:
            subprocess.run(
                ["flite", "-voice", voice, "-t", text, "-o", str(path)],
                check=True,
                capture_output=True,
                timeout=SPEAK_TIMEOUT_S,
            )
            with wave.open(str(path)) as said:
                if (said.getframerate(), said.getnchannels(), said.getsampwidth()) != (SAMPLE_RATE_HZ, 1, 2):
                    raise CannotSpeak(f"flite's voice {voice} does not speak 16-bit mono at {SAMPLE_RATE_HZ} Hz")
                return array.array("h", said.readframes(said.getnframes()))
        except FileNotFoundError:
            raise CannotSpeak("flite is not installed: run `make deps`, or install the package `flite`") from None
        except (subprocess.SubprocessError, wave.Error, EOFError) as error:
            raise CannotSpeak(f"could not speak with flite's voice {voice}: {error}") from None


def speak(script, voices=VOICES):
    """A stereo recording of the script: (speaker, sentence) in turns."""
    at = int(PAUSE_S * SAMPLE_RATE_HZ)
    pieces, segments = [], []
    for speaker, text in script:
        samples = samples_of(voices[speaker], text)
        pieces.append((at, speaker, samples))
        segments.append(
            {
                "speaker": speaker,
                "start": round(at / SAMPLE_RATE_HZ, 2),
                "end": round((at + len(samples)) / SAMPLE_RATE_HZ, 2),
                "text": text,
            }
        )
        at += len(samples) + int(PAUSE_S * SAMPLE_RATE_HZ)
    stereo = array.array("h", bytes(4 * at))
    for start, speaker, samples in pieces:
        channel = 0 if speaker == "agent" else 1
        stereo[2 * start + channel : 2 * (start + len(samples)) + channel : 2] = samples
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE_HZ)
        out.writeframes(stereo.tobytes())
    return SpokenCall(file.getvalue(), at / SAMPLE_RATE_HZ, segments)
