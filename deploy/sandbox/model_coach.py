"""What the sandbox's models make of a salesperson's meeting and of what they write: rules over the words in the prompt, which holds
one JSON object.  Whatever is said rests on these words, in the language they are in."""

import json
import re

LANGUAGES = {
    "de": {"der", "die", "das", "und", "ist", "ich", "sie", "wie", "nicht", "mit", "wir", "ein", "für", "zu", "was", "kunde", "haben"},
    "es": {"el", "los", "las", "es", "qué", "cómo", "con", "una", "para", "muy", "pero", "les", "mi", "hago", "cliente", "y", "han"},
    "fr": {"le", "les", "est", "et", "je", "ils", "avec", "pour", "comment", "une", "pas", "nous", "du", "mon", "client", "ont"},
    "en": {"the", "and", "is", "they", "to", "what", "how", "it", "with", "my", "you", "i", "of", "for", "do", "client", "a", "we"},
}
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
ROLEPLAY = re.compile(r"\b(role ?play|practi[cs]e|pretend|play (?:the|my) client|rollenspiel|spiel den kunden|juego de rol|jeu de rôle)\b")
PLAN = re.compile(r"\b(?:the|my|see|send|show|den|mein|el|mi|le|mon) plan\b")
HAPPENED = re.compile(
    r"\b(signed|agreed|bought|declined|refused|cancelled|postponed|went (?:well|badly|great)|want(?:ed|s)? (?:a|the|to|more)|"
    r"said (?:yes|no)|did not (?:show|come)|unterschrieben|zugesagt|abgesagt|gekauft|lief (?:gut|schlecht)|firmaron|aceptaron|"
    r"rechazaron|ont signé|ont accepté|ont refusé)\b"
)
QUESTION = re.compile(
    r"\?\s*$|^\s*(?:what|how|why|when|who|which|should|can|could|do|was|wie|warum|soll|qué|cómo|por qué|que|comment|pourquoi)\b"
)
SMALL = set().union(*LANGUAGES.values()) | {"about", "their", "them", "this", "that", "will", "would", "over", "sage", "dass", "auch"}

SAYINGS = {
    "en": {
        "summary": "{client} of {company} comes to “{title}”.{told}{known}",
        "told": " It is about {topics}.",
        "known": " Last time: “{known}”.",
        "steps": (
            "Prepare {first} before you meet {client}.",
            "Ask {client} what {second} means for {company}.",
            "Agree the next step on {title} with a day{going_on}.",
        ),
        "going_on": ", going on from “{known}”",
        "advice": "On {asked}: {step}",
        "before": " You spoke of “{before}” before; keep to that.",
        "without": "I know of no plan for this. What do you want {client} to do after {asked}?",
        "objection": "As {client} of {company} I tell you: {asked} does not convince me about “{title}”. Why should I?",
        "feedback": "Good: “{best}”. Next time ask {client} a question about {first} as well.",
    },
    "de": {
        "summary": "{client} von {company} kommt zu „{title}“.{told}{known}",
        "told": " Es geht um {topics}.",
        "known": " Beim letzten Mal: „{known}“.",
        "steps": (
            "Bereite {first} vor, bevor du {client} triffst.",
            "Frag {client}, was {second} für {company} bedeutet.",
            "Vereinbare den nächsten Schritt zu {title} mit einem Tag{going_on}.",
        ),
        "going_on": ", ausgehend von „{known}“",
        "advice": "Zu {asked}: {step}",
        "before": " Vorher ging es um „{before}“; bleib dabei.",
        "without": "Dafür kenne ich keinen Plan. Was soll {client} nach {asked} tun?",
        "objection": "Als {client} von {company} sage ich dir: {asked} überzeugt mich bei „{title}“ nicht. Warum sollte ich?",
        "feedback": "Gut: „{best}“. Frag {client} nächstes Mal auch nach {first}.",
    },
    "es": {
        "summary": "{client} de {company} viene a «{title}».{told}{known}",
        "told": " Se trata de {topics}.",
        "known": " La última vez: «{known}».",
        "steps": (
            "Prepara {first} antes de ver a {client}.",
            "Pregunta a {client} qué significa {second} para {company}.",
            "Acuerda el próximo paso de {title} con un día{going_on}.",
        ),
        "going_on": ", a partir de «{known}»",
        "advice": "Sobre {asked}: {step}",
        "before": " Antes hablaste de «{before}»; sigue con eso.",
        "without": "No conozco un plan para esto. ¿Qué debe hacer {client} después de {asked}?",
        "objection": "Como {client} de {company} te digo: {asked} no me convence en «{title}». ¿Por qué debería?",
        "feedback": "Bien: «{best}». La próxima vez pregunta a {client} también por {first}.",
    },
    "fr": {
        "summary": "{client} de {company} vient à « {title} ».{told}{known}",
        "told": " Il s'agit de {topics}.",
        "known": " La dernière fois : « {known} ».",
        "steps": (
            "Préparez {first} avant de voir {client}.",
            "Demandez à {client} ce que {second} veut dire pour {company}.",
            "Convenez de la suite de {title} avec un jour{going_on}.",
        ),
        "going_on": ", à partir de « {known} »",
        "advice": "Sur {asked} : {step}",
        "before": " Vous parliez de « {before} » ; gardez cela.",
        "without": "Je ne connais pas de plan pour cela. Que doit faire {client} après {asked} ?",
        "objection": "Moi, {client} de {company}, je vous dis : {asked} ne me convainc pas pour « {title} ». Pourquoi le ferais-je ?",
        "feedback": "Bien : « {best} ». La prochaine fois, interrogez {client} aussi sur {first}.",
    },
}


def language_of(text, otherwise):
    words = [word.lower() for word in WORD.findall(text)]
    counts = {language: sum(word in common for word in words) for language, common in LANGUAGES.items()}
    best = max(counts, key=counts.get)
    known = otherwise[:2] if otherwise else None
    return best if counts[best] > counts.get(known, 0) else known if known in SAYINGS else best


def topics_of(text):
    """The words that carry it, as they stand, each once."""
    found = {}
    for word in WORD.findall(text):
        if len(word) > 3 and word.lower() not in SMALL and not word.isdigit():
            found.setdefault(word.lower(), word)
    return list(found.values())


def object_in(text):
    """The first JSON object of a prompt, or None."""
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def slots_of(meeting, told, message=""):
    client, company = meeting.get("client") or "", meeting.get("client_company") or ""
    topics = topics_of(meeting.get("description") or "") or topics_of(meeting.get("title") or "") or [meeting.get("title") or "it"]
    asked = topics_of(message)
    outcomes = [known["outcome"] for known in told.get("known_of_client") or [] if known.get("outcome")]
    return {
        "client": client or company or "?",
        "company": company or client or "?",
        "title": meeting.get("title") or "",
        "topics": ", ".join(topics[:4]),
        "first": topics[0],
        "second": topics[min(1, len(topics) - 1)],
        "asked": " ".join(asked[:3]) or message.strip() or topics[0],
        "known": outcomes[0] if outcomes else "",
    }


def plan_of(told):
    meeting = told.get("meeting") or {}
    text = f"{meeting.get('title') or ''}\n{meeting.get('description') or ''}"
    language = told.get("language") or language_of(text, "en")
    sayings = SAYINGS.get(language[:2], SAYINGS["en"])
    slots = slots_of(meeting, told)
    slots["told"] = sayings["told"].format(**slots) if meeting.get("description") else ""
    slots["going_on"] = sayings["going_on"].format(**slots) if slots["known"] else ""
    summary = sayings["summary"].format(**{**slots, "known": sayings["known"].format(**slots) if slots["known"] else ""})
    return {"summary": summary, "steps": [step.format(**slots) for step in sayings["steps"]], "language": language}


def step_for(message, steps):
    """The step that shares most words with the message, the first of them."""
    words = {word.lower() for word in topics_of(message)}
    return max(steps, key=lambda step: len(words & {word.lower() for word in topics_of(step)}))


def outcome_in(message):
    """The first sentence that tells what happened and is no question, or None."""
    said = (sentence.strip() for sentence in SENTENCE.findall(message))
    return next((one for one in said if HAPPENED.search(one.lower()) and not QUESTION.search(one.lower())), None)


def advice(sayings, slots, told, message):
    plan = (told.get("meeting") or {}).get("plan")
    if not plan:
        return sayings["without"].format(**slots)
    text = sayings["advice"].format(step=step_for(message, plan["steps"]), **slots)
    before = [one["text"] for one in told.get("messages") or [] if one["from"] == "salesperson" and len(topics_of(one["text"])) > 1]
    return text + (sayings["before"].format(before=before[-1][:80]) if before else "")


def feedback(sayings, slots, told):
    """On the longest that the salesperson said in the role."""
    said = [one["text"] for one in told.get("messages") or [] if one["from"] == "salesperson" and one["in_roleplay"]]
    return sayings["feedback"].format(best=max(said[1:] or said or ["-"], key=len)[:80], **slots)


def chat_of(told):
    message, mode = told.get("message") or "", told.get("mode")
    language = language_of(message, told.get("language"))
    sayings = SAYINGS[language]
    slots = slots_of(told.get("meeting") or {}, told, message)
    plain = message.lower()
    answer = {"act": "answer", "text": None, "outcome": None, "quote": None, "language": language, "mode": "advice"}
    happened = outcome_in(message)
    if told.get("leaves_roleplay"):
        return {**answer, "text": feedback(sayings, slots, told)}
    if mode == "roleplay" or ROLEPLAY.search(plain):
        return {**answer, "mode": "roleplay", "text": sayings["objection"].format(**slots)}
    if told.get("reminded") and happened:
        return {**answer, "act": "complete", "outcome": message, "quote": happened}
    if PLAN.search(plain) or (told.get("plan_waiting") and not QUESTION.search(plain)):
        return {**answer, "act": "plan"}
    return {**answer, "text": advice(sayings, slots, told, message)}


def coached(said, schema):
    """The facts of a plan or of an answer in a chat, when the schema asks for one of these; else None."""
    asked = set((schema or {}).get("properties", {}))
    told = object_in(said[-1]) if said else None
    if told is None:
        return None
    if {"summary", "steps"} <= asked:
        return plan_of(told)
    return chat_of(told) if {"act", "text", "mode"} <= asked else None
