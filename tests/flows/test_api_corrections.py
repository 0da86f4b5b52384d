"""What a person corrected, through the real stages: it outlives another analysis, and lead, appointment and events follow it."""

import pytest
from api_client import LIST, Api
from api_client import Company as Rows
from call_pipeline import BOOKED, COLD, pipeline, started  # noqa: F401 (fixtures)
from environment import wait_until
from sandbox_process import process  # noqa: F401 (a fixture)


@pytest.fixture
def corrected(pipeline, schema_ready):  # noqa: F811
    """A call that was analysed, and whose analysis a person then corrected."""
    def correct(lines, **fields):
        company = pipeline.company()
        call_id = pipeline.call(company, lines)
        said = pipeline.row("call_analyses", call_id)
        with schema_ready.connect() as connection:
            api = Api(pipeline.ingest.url, Rows(connection, pipeline.ingest.url, tenant=company.tenant).token(role="exec"))
        api.change(200, "PATCH", f"{LIST}/{call_id}/analysis", fields)
        return call_id, api, said
    return correct


def analyse_again(pipeline, topics, call_id, run=1):  # noqa: F811
    transcribed = topics.wait("transcripts", call_id)[0]
    topics.send("replay.analyze", call_id, {**transcribed, "run": run})
    found = "SELECT 1 FROM ledger WHERE stage = 'analyze' AND correlation_id = %s AND run = %s"
    wait_until(lambda: pipeline.database.execute(found, [call_id, run]).fetchall(), "the call being analysed again")


def test_what_was_corrected_outlives_another_analysis(pipeline, topics, corrected):  # noqa: F811
    call_id, api, said = corrected(BOOKED, lead_qualification="cold", booking_status="not_booked", sentiment_score=0.25, summary="He only asked.")
    before = api.show(call_id)
    assert before["appointment"] is None and before["lead"]["status"] == "cold"
    pipeline.database.execute("UPDATE call_analyses SET evidence = '[]' WHERE call_id = %s", [call_id])
    analyse_again(pipeline, topics, call_id)
    after = api.show(call_id)
    assert after["analysis"]["evidence"] == said["evidence"] != [], "it was analysed again"
    same = ("lead_qualification", "booking_status", "sentiment_score", "summary", "call_outcome_category", "corrections")
    assert {name: after["analysis"][name] for name in same} == {name: before["analysis"][name] for name in same}
    assert after["appointment"] is None and after["lead"]["status"] == "cold"
    told = topics.wait("results", call_id, 2)[1]["data"]
    assert (told["lead_qualification"], told["booking_status"], told["sentiment_score"]) == ("cold", "not_booked", 0.25) and "appointment_id" not in told


def test_a_booking_that_a_person_heard_stays(pipeline, topics, corrected):  # noqa: F811
    call_id, api, _ = corrected(COLD, booking_status="booked", lead_qualification="hot")
    appointment = api.show(call_id)["appointment"]
    analyse_again(pipeline, topics, call_id)
    assert api.show(call_id)["appointment"] == appointment is not None and api.show(call_id)["lead"]["status"] == "hot"


def test_what_was_not_corrected_is_as_the_model_says(pipeline, topics, corrected):  # noqa: F811
    call_id, api, said = corrected(BOOKED, summary="Short.")
    pipeline.database.execute("UPDATE call_analyses SET sentiment_score = 0.125, objections = '[]' WHERE call_id = %s", [call_id])
    analyse_again(pipeline, topics, call_id)
    analysis = api.show(call_id)["analysis"]
    assert (analysis["summary"], analysis["sentiment_score"], analysis["objections"]) == ("Short.", said["sentiment_score"], said["objections"])
