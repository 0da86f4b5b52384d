"""What the sandbox accepts as keys and accounts: the same names the daemons read, from the environment.

A name that is not set gets a default that only works here.  `sandbox.py --print-env` prints them all, as a `.env`
that makes the daemons talk to this sandbox."""

import os
from dataclasses import dataclass

DEFAULTS = {
    "TWILIO_ACCOUNT_SID": "AC5a6dba5a6dba5a6dba5a6dba5a6dba5a",
    "TWILIO_AUTH_TOKEN": "sandbox-twilio-auth-token",
    "TWILIO_WHATSAPP_FROM": "+14155238886",
    "TWILIO_CONTENT_SID_LEAD": "HX5a6dba5a6dba5a6dba5a6dba5a6dba5a",
    "TWILIO_CONTENT_SID_WELCOME": "HX5a6dba5a6dba5a6dba5a6dba5a6dba01",
    "TWILIO_CONTENT_SID_PLAN": "HX5a6dba5a6dba5a6dba5a6dba5a6dba02",
    "TWILIO_CONTENT_SID_REMINDER": "HX5a6dba5a6dba5a6dba5a6dba5a6dba03",
    "CALLRAIL_ACCOUNT_ID": "ACC5a6dba5a6dba5a6dba5a6dba5a6dba5a",
    "CALLRAIL_API_KEY": "sandbox-callrail-api-key",
    "CALLRAIL_SIGNING_KEY": "sandbox-callrail-signing-key",
    "GEMINI_API_KEY": "sandbox-gemini-api-key",
    "OPENAI_API_KEY": "sandbox-openai-api-key",
    "SHUNYA_API_KEY": "sandbox-shunya-api-key",
    "SHUNYA_WEBHOOK_SECRET": "sandbox-shunya-webhook-secret",
    "OUTLOOK_WEBHOOK_SECRET": "sandbox-outlook-webhook-secret",
    "HUBSPOT_ACCESS_TOKEN": "sandbox-hubspot-access-token",
    "GRAPH_TENANT_ID": "5a6dba5a-6dba-4a6d-8a5a-6dba5a6dba5a",
    "GRAPH_CLIENT_ID": "6dba5a6d-ba5a-4dba-9a6d-ba5a6dba5a6d",
    "GRAPH_CLIENT_SECRET": "sandbox-graph-client-secret",
    "RECORDINGS_S3_BUCKET": "recordings",
    "RECORDINGS_S3_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIASANDBOX",
    "AWS_SECRET_ACCESS_KEY": "sandbox-aws-secret-access-key",
}

# A watched calendar also needs a mailbox and a company, and recordings lie in a folder unless they shall not: who wants it sets all of it.
OPT_IN = (
    "GRAPH_TENANT_ID", "GRAPH_CLIENT_ID", "GRAPH_CLIENT_SECRET",
    "RECORDINGS_S3_BUCKET", "RECORDINGS_S3_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
)  # fmt: skip

# The templates that are approved from the start, with as many variables as the notifier fills.
TEMPLATES = {
    "TWILIO_CONTENT_SID_LEAD": "News for {{1}}\n{{2}}\n{{3}}\nThe whole call can be read in Switchboard.",
    "TWILIO_CONTENT_SID_WELCOME": "Hello {{1}}, your sales coach is here. Reply to this message to begin.",
    "TWILIO_CONTENT_SID_PLAN": "Your plan for {{1}} is ready. Reply to read it.",
    "TWILIO_CONTENT_SID_REMINDER": "How did {{1}} go? Reply and tell what happened.",
}


def several(value):
    """A secret's setting may hold several values while it is rotated."""
    return [part.strip() for part in value.split(",") if part.strip()]


@dataclass(frozen=True)
class Config:
    base_url: str  # how others reach this process
    twilio_account_sid: str
    twilio_auth_tokens: tuple
    twilio_senders: tuple  # "whatsapp:+E164"
    twilio_templates: dict  # ContentSid: text
    callrail_account_id: str
    callrail_api_keys: tuple
    callrail_signing_keys: tuple
    gemini_api_keys: tuple
    openai_api_keys: tuple
    shunya_api_keys: tuple
    shunya_webhook_secrets: tuple
    outlook_webhook_secrets: tuple
    hubspot_tokens: tuple
    graph_tenant_id: str
    graph_client_id: str
    graph_client_secrets: tuple
    s3_bucket: str
    s3_region: str
    s3_access_key: str
    s3_secret_key: str

    @staticmethod
    def from_environment(base_url, environment=os.environ):
        value = {name: environment.get(name) or default for name, default in DEFAULTS.items()}
        return Config(
            base_url=base_url,
            twilio_account_sid=value["TWILIO_ACCOUNT_SID"],
            twilio_auth_tokens=tuple(several(value["TWILIO_AUTH_TOKEN"])),
            twilio_senders=tuple(
                sender if sender.startswith("whatsapp:") else "whatsapp:" + sender
                for sender in several(value["TWILIO_WHATSAPP_FROM"])
            ),
            twilio_templates={value[name]: body for name, body in TEMPLATES.items()},
            callrail_account_id=value["CALLRAIL_ACCOUNT_ID"],
            callrail_api_keys=tuple(several(value["CALLRAIL_API_KEY"])),
            callrail_signing_keys=tuple(several(value["CALLRAIL_SIGNING_KEY"])),
            gemini_api_keys=tuple(several(value["GEMINI_API_KEY"])),
            openai_api_keys=tuple(several(value["OPENAI_API_KEY"])),
            shunya_api_keys=tuple(several(value["SHUNYA_API_KEY"])),
            shunya_webhook_secrets=tuple(several(value["SHUNYA_WEBHOOK_SECRET"])),
            outlook_webhook_secrets=tuple(several(value["OUTLOOK_WEBHOOK_SECRET"])),
            hubspot_tokens=tuple(several(value["HUBSPOT_ACCESS_TOKEN"])),
            graph_tenant_id=value["GRAPH_TENANT_ID"],
            graph_client_id=value["GRAPH_CLIENT_ID"],
            graph_client_secrets=tuple(several(value["GRAPH_CLIENT_SECRET"])),
            s3_bucket=value["RECORDINGS_S3_BUCKET"],
            s3_region=value["RECORDINGS_S3_REGION"],
            s3_access_key=value["AWS_ACCESS_KEY_ID"],
            s3_secret_key=value["AWS_SECRET_ACCESS_KEY"],
        )


def environment_for_daemons(base_url, environment=os.environ):
    lines = {name: environment.get(name) or default for name, default in DEFAULTS.items() if name not in OPT_IN}
    lines["TWILIO_BASE_URL"] = f"{base_url}/twilio"
    lines["CALLRAIL_BASE_URL"] = f"{base_url}/callrail/v3"
    lines["GEMINI_BASE_URL"] = f"{base_url}/gemini"
    lines["OPENAI_BASE_URL"] = f"{base_url}/openai/v1"
    lines["SHUNYA_BASE_URL"] = f"{base_url}/shunya"
    lines["HUBSPOT_BASE_URL"] = f"{base_url}/hubspot"
    return lines
