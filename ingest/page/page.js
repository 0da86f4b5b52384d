/* The page: calls, leads, appointments, visits and figures of a company, as /api/v1 tells them.
 *
 * What the address says behind the # is what is seen: "#/calls?status=missed", "#/calls/CAL1".  The token stays in the tab
 * that it was typed into.  Everything that comes from outside becomes text, never markup. */

const PAGE_ROWS = 50
const SAVED_PAGE_ROWS = 200, SAVED_ROWS_MAX = 20_000, SAVED_FOR_MS = 60_000 // a browser takes a file a moment after it is given
const KEY = "token"

/* --- elements ---------------------------------------------------------------------------------------------------- */

const isGiven = value => value !== null && value !== undefined && value !== false

/* make("a", { href: "#/calls" }, "Calls"): an element; what is null, undefined or false is left out. */
function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes))
        if (name.startsWith("on"))
            element.addEventListener(name.slice(2), value)
        else if (isGiven(value))
            element.setAttribute(name, value === true ? "" : value)
    element.append(...children.flat(Infinity).filter(isGiven))
    return element
}

/* What a view comes to; it is shown by who asked for it. */
const sheet = (title, ...children) => ({ title, children: children.flat(Infinity).filter(isGiven) })

function show({ title, children }) {
    const view = document.getElementById("view")
    document.title = `${title} · Switchboard`
    view.replaceChildren(make("h1", {}, title), ...children)
    view.focus({ preventScroll: true })
    scrollTo(0, 0)
}

/* --- words ------------------------------------------------------------------------------------------------------- */

let timeZone // the company's; of all companies: the browser's own
let ofAll    // the token sees all companies
let decides  // it may correct

const said = value => String(value).replaceAll("_", " ")
const percent = share => `${Math.round(share * 100)} %`
const decimal = value => value === null ? "–" : Number(value).toFixed(2)
const at = time => time && new Intl.DateTimeFormat(undefined, { timeZone, dateStyle: "medium", timeStyle: "short" }).format(new Date(time))
const clock = time => time && new Intl.DateTimeFormat(undefined, { timeZone, timeStyle: "medium" }).format(new Date(time))
const lasted = seconds => {
    const whole = Math.round(seconds), rest = String(whole % 60).padStart(2, "0")
    return `${Math.floor(whole / 60)}:${rest}`
}
function age(seconds) {
    const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, length]) => seconds >= length) ?? ["minute", 60]
    return new Intl.NumberFormat(undefined, { style: "unit", unit, unitDisplay: "long" }).format(Math.floor(seconds / length))
}
const badge = value => value && make("span", { class: `badge ${value}` }, said(value))
const who = contact => contact ? [contact.name, contact.phone].filter(Boolean).join(" ") : "number withheld"

/* --- the API ----------------------------------------------------------------------------------------------------- */

class Problem extends Error {
    constructor(status, detail) {
        super(detail)
        this.status = status
    }
}

/* The answer, when it is a good one. */
async function ask(path, options = {}) {
    const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}`, ...options.headers }
    let answer
    try {
        answer = await fetch(`/api/v1${path}`, { ...options, headers, cache: "no-store" })
    } catch {
        throw new Problem(0, "The server cannot be reached. Try again in a moment.")
    }
    if (answer.ok)
        return answer
    const problem = await answer.json().catch(() => ({}))
    throw new Problem(answer.status, problem.detail || problem.title || `The server answered ${answer.status}.`)
}

const read = async path => (await (await ask(path)).json()).data
const change = (path, body) => ask(path, {
    method: "PATCH",
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) },
    body: JSON.stringify(body),
})

const query = parameters => {
    const given = Object.entries(parameters).filter(([, value]) => value !== "" && isGiven(value))
    return given.length ? `?${new URLSearchParams(given)}` : ""
}

/* --- lists ------------------------------------------------------------------------------------------------------- */

/* A table, a page at a time; `columns` are [heading, row => content].  On a phone each row is a card with the headings in it. */
function table(caption, columns, rows) {
    const add = rows => body.append(...rows.map(row => make("tr", {}, columns.map(([heading, cell]) =>
        make("td", { "data-heading": heading }, cell(row) ?? "")))))
    const body = make("tbody")
    const element = make("table", {}, make("caption", { class: "hidden" }, caption),
                         make("thead", {}, make("tr", {}, columns.map(([heading]) => make("th", { scope: "col" }, heading)))), body)
    add(rows)
    return { element, add }
}

async function list(title, path, parameters, columns, none, ...above) {
    const more = make("button", {}, "Show more"), note = make("p", { class: "note", role: "status" })
    let found
    const load = async cursor => {
        found = await read(path + query({ ...parameters, limit: PAGE_ROWS, cursor }))
        more.hidden = !found.next_cursor
    }
    await load()
    const { element, add } = table(title, ofAll ? [["Company", row => row.tenant], ...columns] : columns, found.items)
    const count = found.total_is === "at_least" ? `at least ${found.total}` : String(found.total)
    more.addEventListener("click", guarded(async () => {
        await load(found.next_cursor)
        add(found.items)
    }, note))
    const csv = make("button", { class: "quiet", onclick: guarded(() => save(path, parameters, title, note), note) }, "Save as CSV")
    return sheet(title, above, found.items.length ? [make("p", { class: "note" }, `${count} in all`, csv), element, more] : make("p", {}, none), note)
}

/* The pages of a list, in one file; the newest, when they are very many. */
async function save(path, parameters, title, note) {
    const parts = []
    let cursor
    do {
        const answer = await ask(path + query({ ...parameters, limit: SAVED_PAGE_ROWS, cursor }), { headers: { Accept: "text/csv" } })
        const text = await answer.text()
        parts.push(parts.length ? text.slice(text.indexOf("\r\n") + 2) : text)
        cursor = answer.headers.get("Next-Cursor")
    } while (cursor && parts.length * SAVED_PAGE_ROWS < SAVED_ROWS_MAX)
    if (cursor)
        note.textContent = `The first ${SAVED_ROWS_MAX} are saved.`
    const address = URL.createObjectURL(new Blob(parts, { type: "text/csv" }))
    make("a", { href: address, download: `${title.toLowerCase()}.csv` }).click()
    setTimeout(() => URL.revokeObjectURL(address), SAVED_FOR_MS)
}

/* What was done wrong, or cannot be done now, is said in `note`. */
const guarded = (act, note) => async event => {
    event?.preventDefault()
    note.textContent = ""
    try {
        await act(event)
    } catch (problem) {
        if (problem.status === 401)
            return signIn(problem.message)
        note.textContent = problem.message
    }
}

const select = (label, name, choices, chosen) => make("label", {}, label, make("select", { name },
    choices.map(choice => make("option", { value: choice, selected: choice === chosen }, choice ? said(choice) : "all"))))

const TYPES = { q: "search", tenant: "text" }

/* A form whose fields are the address's parameters. */
function filter(place, parameters, ...fields) {
    const submit = event => {
        event.preventDefault()
        location.hash = `#/${place}${query(Object.fromEntries(new FormData(event.target)))}`
    }
    return make("form", { class: "filter", onsubmit: submit, onchange: event => event.currentTarget.requestSubmit(), role: "search" },
                fields.map(([label, name, choices]) => choices ? select(label, name, choices, parameters[name])
                    : make("label", {}, label, make("input", { name, type: TYPES[name] ?? "date", value: parameters[name], maxlength: 200 }))))
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

const linkTo = (place, id, words) => make("a", { href: `#/${place}/${encodeURIComponent(id)}` }, words)
const callLink = call => linkTo("calls", call.call_id, who(call.contact))
const state = call => [badge(call.status), call.voicemail && badge("voicemail")]
const calls = parameters => list("Calls", "/calls", parameters, [
    ["Customer", callLink],
    ["When", call => at(call.call_at)],
    ["Lasted", call => call.duration_s === null ? "" : lasted(call.duration_s)],
    ["Call", state],
    ["Lead", call => badge(call.analysis?.lead_qualification)],
    ["Booking", call => badge(call.analysis?.booking_status)],
    ["What it was about", call => call.analysis?.summary ?? ({ failed: "Could not be read", waiting: "Waits" }[call.processing.state] ?? "")],
], "There are no such calls.", filter("calls", parameters,
    ["Words said", "q"], ["Status", "status", ["", "completed", "missed", "in_progress", "ringing", "failed"]], ["From", "from"], ["To", "to"]))

const callbacks = () => list("To call back", "/calls", { status: "missed", callback: "open" }, [
    ["Customer", callLink],
    ["Called", call => at(call.call_at)],
    ["Waits for", call => age(call.callback.age_s)],
    ["", call => {
        const note = make("span", { role: "status" })
        const button = make("button", { onclick: guarded(async () => {
            await change(`/calls/${encodeURIComponent(call.call_id)}`, { callback: "done" })
            button.closest("tr").remove()
        }, note) }, "Called back")
        return make("span", {}, button, note)
    }],
], "Nobody waits to be called back.")

/* What is known of a thing; pairs without a value are left out. */
const facts = (pairs, style) => make("dl", { class: style }, pairs.filter(([, value]) => value !== "" && isGiven(value))
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))))

/* What is wrong, or waited for. */
const progress = ({ state, stage, reason }) => reason && `${state}${stage ? ` at ${stage}` : ""}: ${reason}`

const section = (title, ...children) => make("section", {}, make("h2", {}, title), children)

/* Our own copy of the audio, fetched when it is wanted: the token may stand in no address. */
function player(path, recording, segments) {
    if (!recording)
        return null
    if (recording.removed_at)
        return make("p", { class: "note" }, `The recording was removed on ${at(recording.removed_at)}.`)
    const note = make("p", { class: "note", role: "status" })
    const audio = make("audio", { controls: true, hidden: true })
    const button = make("button", { onclick: guarded(async () => {
        button.disabled = true
        try {
            audio.src = URL.createObjectURL(await (await ask(path)).blob())
        } finally {
            button.disabled = false
        }
        audio.hidden = false
        button.remove()
        await audio.play().catch(() => { note.textContent = "This browser cannot play it." })
    }, note) }, `Listen (${lasted(recording.duration_s)})`)
    audio.addEventListener("timeupdate", () => segments.forEach(({ element, start, end }) =>
        element.classList.toggle("now", !audio.paused && audio.currentTime >= start && audio.currentTime < end)))
    segments.forEach(({ element, start }) => element.addEventListener("click", () => { if (audio.src) audio.currentTime = start }))
    return make("div", { class: "player" }, button, audio, note)
}

/* The words, with those that the analysis rests on marked. */
function words(transcript, analysis, path, recording) {
    if (!transcript)
        return null
    const quotes = [...analysis?.evidence ?? [], ...analysis?.objections ?? []].map(({ quote }) => quote?.toLowerCase()).filter(Boolean)
    const rests = text => quotes.some(quote => quote.includes(text.toLowerCase()) || text.toLowerCase().includes(quote))
    const told = transcript.segments.length ? transcript.segments : [{ text: transcript.text }]
    const segments = told.map(segment => ({
        start: segment.start_s, end: segment.end_s,
        element: make("li", { class: segment.speaker }, segment.speaker && make("b", {}, said(segment.speaker)), " ",
                      make(rests(segment.text) ? "mark" : "span", { dir: "auto" }, segment.text)),
    }))
    return section("What was said", player(path, recording, segments), make("ol", { class: "words" }, segments.map(({ element }) => element)))
}

const understood = (analysis, ...below) => analysis && section("What it meant", make("p", {}, analysis.summary), facts([
    ["Lead", badge(analysis.lead_qualification)],
    ["Booking", badge(analysis.booking_status)],
    ["Outcome", said(analysis.call_outcome_category ?? analysis.outcome ?? "")],
    ["Mood", analysis.sentiment_score === null ? null : `${decimal(analysis.sentiment_score)} of −1 to 1`],
    ["Steps kept", analysis.sop_score === null ? null : percent(analysis.sop_score)],
    ["Steps missed", analysis.sop_missed_steps?.length ? make("ul", {}, analysis.sop_missed_steps.map(step => make("li", {}, step))) : null],
    ["Objections", analysis.objections?.length
        ? make("ul", {}, analysis.objections.map(({ category, quote }) => make("li", {}, `${said(category)}: `, make("q", {}, quote)))) : null],
    ["Corrected", Object.entries(analysis.corrections ?? {}).map(([field, { by, at: when }]) => `${said(field)} by ${by}, ${at(when)}`).join("; ")],
    ["By", [analysis.provider, analysis.model !== analysis.provider && analysis.model].filter(Boolean).join(", ")],
]), below)

const CORRECTED = [
    ["Lead", "lead_qualification", ["hot", "warm", "cold"]],
    ["Booking", "booking_status", ["booked", "not_booked", "service_not_offered"]],
    ["Outcome", "call_outcome_category", ["booked", "qualified_not_booked", "not_qualified", "service_not_offered", "existing_customer", "wrong_number",
                                          "spam", "voicemail", "missed", "other"]],
]

/* Who decides may know better than a model. */
function correction(path, analysis) {
    const note = make("p", { class: "note", role: "alert" })
    const submit = guarded(async event => {
        const wanted = [...new FormData(event.target)].filter(([name, value]) => value !== analysis[name])
        if (wanted.length)
            await change(`${path}/analysis`, Object.fromEntries(wanted))
        await route()
    }, note)
    return make("details", {}, make("summary", {}, "Correct it"), make("form", { class: "filter", onsubmit: submit },
        CORRECTED.map(([label, name, choices]) => select(label, name, [...new Set([analysis[name], ...choices])], analysis[name])),
        make("button", {}, "Save"), note))
}

async function call(id) {
    const path = `/calls/${encodeURIComponent(id)}`, found = await read(path)
    const visit = found.appointment
    return sheet(who(found.contact),
         facts([
             ["When", at(found.call_at)], ["Lasted", found.duration_s === null ? null : lasted(found.duration_s)], ["Call", state(found)],
             ["Lead", badge(found.lead?.status)], ["Taken by", found.csr_user_id], ["Number called", found.tracking_number],
             ["Told by", { hook: "CallRail's webhooks", fetch: "CallRail, when it was asked", both: "CallRail's webhooks, and when it was asked" }[found.brought_by]],
             ["Processing", progress(found.processing)],
         ]),
         understood(found.analysis, found.analysis && decides && correction(path, found.analysis)),
         visit && section("Appointment", facts([
             ["When", visit.scheduled_start ? at(visit.scheduled_start) : "no time was said"], ["Status", badge(visit.status)],
             ["Outcome", badge(visit.outcome)], ["Service", visit.service_type], ["Where", visit.location], ["Visited by", visit.assigned_rep_id],
             ["Agreed with", visit.quote && make("q", {}, visit.quote)],
         ])),
         words(found.transcript, found.analysis, `${path}/recording`, found.recording),
         found.deliveries.length > 0 && section("Messages", table("Messages", [
             ["To", message => message.recipient.replace("whatsapp:", "")], ["When", message => at(message.created_at)],
             ["Status", message => badge(message.status ?? message.state)], ["Words", message => [message.content, message.error].filter(Boolean).join("\n")],
         ], found.deliveries).element),
         section("What happened to it", table("What happened to it", [
             ["Stage", step => step.stage], ["Event", step => step.hook ?? step.event_type], ["Received", step => clock(step.received_at ?? step.reported_at)],
             ["Done", step => clock(step.committed_at)], ["Worked", step => step.worked_ms === null ? "" : `${Math.round(step.worked_ms)} ms`],
             ["Outcome", step => [step.outcome && said(step.outcome), step.why].filter(Boolean).join(": ")],
         ], found.history).element))
}

/* --- leads, appointments, visits --------------------------------------------------------------------------------- */

const leads = parameters => list("Leads", "/leads", parameters, [
    ["Customer", lead => who(lead.contact)],
    ["Lead", lead => badge(lead.status)],
    ["Since", lead => at(lead.created_at)],
    ["Last call", lead => lead.last_call && linkTo("calls", lead.last_call.call_id, at(lead.last_call.call_at))],
], "There are no such leads.", filter("leads", parameters, ["Status", "status", ["", "new", "hot", "warm", "cold", "closed"]]))

const appointments = parameters => list("Appointments", "/appointments", parameters, [
    ["Customer", one => one.call_id ? callLink(one) : who(one.contact)],
    ["When", one => one.scheduled_start ? at(one.scheduled_start) : "no time was said"],
    ["Service", one => one.service_type],
    ["Where", one => one.location],
    ["Rep", one => one.rep?.name ?? one.assigned_rep_id],
    ["Status", one => badge(one.status)],
    ["Outcome", one => badge(one.outcome)],
], "There are no such appointments.", filter("appointments", parameters, ["Day", "date"]))

const visits = parameters => list("Visits", "/recordings/sessions", parameters, [
    ["Began", one => linkTo("visits", one.session_id, at(one.started_at))],
    ["Ended", one => at(one.stopped_at)],
    ["Rep", one => one.rep_user_id],
    ["Recording", one => badge(one.stale ? "stale" : one.status)],
    ["Outcome", one => badge(one.analysis?.outcome)],
    ["What it was about", one => one.analysis?.summary],
], "There are no such visits.", filter("visits", parameters, ["Recording", "status", ["", "recording", "completed", "failed", "stale"]]))

async function visit(id) {
    const path = `/recordings/sessions/${encodeURIComponent(id)}`, found = await read(path)
    return sheet("Visit", facts([["Began", at(found.started_at)], ["Ended", at(found.stopped_at)], ["Rep", found.rep_user_id],
                         ["Recording", badge(found.stale ? "stale" : found.status)], ["Outcome", badge(found.analysis?.outcome)],
                         ["Processing", progress(found.processing)]]),
         understood(found.analysis), words(found.transcript, found.analysis, `${path}/recording`, found.recording))
}

/* --- figures ----------------------------------------------------------------------------------------------------- */

const tiles = pairs => facts(pairs, "tiles")

/* A bar for each day: all of it, and how much of that was a success. */
function bars(title, days, all, good) {
    const most = Math.max(1, ...days.map(day => day[all]))
    const part = (name, count) => {
        const element = make("span", { class: name })
        element.style.blockSize = `${100 * count / most}%`
        return element
    }
    const bar = day => {
        const words = `${day.day}: ${day[all]} ${said(all)}, ${day[good]} ${said(good)}`
        return make("li", { title: words }, make("span", { class: "hidden" }, words), part("all", day[all]), part("good", day[good]))
    }
    return make("figure", {}, make("figcaption", {}, `${title}; at most ${most}`), make("ol", { class: "bars" }, days.map(bar)),
                make("p", { class: "note" }, `${days[0].day} to ${days.at(-1).day}`))
}

const COMPANY = ["Company", "tenant"]

const csrFigures = found => [
    tiles([["Calls", found.total_calls], ["Answered", found.answered_calls], ["Missed", found.missed_calls], ["Booked", found.booked_calls],
           ["Booking rate", percent(found.booking_rate)], ["Qualified", percent(found.qualification_rate)],
           ["Mood", decimal(found.mean_sentiment)], ["Steps kept", found.mean_sop_score === null ? "–" : percent(found.mean_sop_score)]]),
    bars("Calls a day, and those booked", found.daily_trend, "total_calls", "booked_calls"),
    found.top_objections.length > 0 && section("Objections", table("Objections", [["Objection", one => said(one.category)], ["Calls", one => one.calls]],
                                                                   found.top_objections).element),
    found.csrs && section("CSRs", table("CSRs", [
        ["Name", one => one.name], ["Calls", one => one.total_calls], ["Answered", one => one.answered_calls], ["Missed", one => one.missed_calls],
        ["Booked", one => one.booked_calls], ["Booking rate", one => percent(one.booking_rate)],
        ["Mood", one => decimal(one.mean_sentiment)],
    ], found.csrs).element),
]

const repFigures = found => [
    tiles([["Appointments today", found.appointments_today], ["Ahead", found.appointments_ahead], ["Visits", found.visits], ["Won", found.won],
           ["Lost", found.lost], ["Pending", found.pending], ["Win rate", percent(found.win_rate)]]),
    bars("Visits a day, and those won", found.daily_trend, "visits", "won"),
    found.reps && section("Sales reps", table("Sales reps", [
        ["Name", one => one.name], ["Today", one => one.appointments_today], ["Ahead", one => one.appointments_ahead], ["Visits", one => one.visits],
        ["Won", one => one.won], ["Lost", one => one.lost], ["Win rate", one => percent(one.win_rate)],
    ], found.reps).element),
]

async function figures(parameters) {
    if (ofAll && !parameters.tenant)
        return sheet("Figures", filter("figures", parameters, COMPANY), make("p", {}, "Of which company?"))
    const asked = await Promise.all(overviews.map(({ path }) => read(path + query(parameters))))
    const { from, to } = asked[0]
    const dates = [["From", "from"], ["To", "to"]]
    return sheet("Figures", filter("figures", { ...parameters, from, to }, ...(ofAll ? [COMPANY, ...dates] : dates)),
         overviews.map(({ title, content }, number) => section(title, content(asked[number]))))
}

/* --- what there is to see ---------------------------------------------------------------------------------------- */

const VIEWS = [
    { place: "calls", title: "Calls", list: calls, one: call, path: "/calls?limit=1" },
    { place: "callbacks", title: "To call back", list: callbacks, path: "/calls?limit=1" },
    { place: "leads", title: "Leads", list: leads, path: "/leads?limit=1" },
    { place: "appointments", title: "Appointments", list: appointments, path: "/appointments?limit=1" },
    { place: "visits", title: "Visits", list: visits, one: visit, path: "/recordings/sessions?limit=1" },
]
const FIGURES = { place: "figures", title: "Figures", list: figures }
const CALLS = "Calls", SALES = "Sales"
const OVERVIEWS = [
    { title: CALLS, path: "/metrics/exec/csr/overview", content: csrFigures },
    { title: SALES, path: "/metrics/exec/sales/overview", content: repFigures },
]
const OWN_OVERVIEWS = [
    { title: CALLS, path: "/metrics/csr/overview/self", content: csrFigures },
    { title: SALES, path: "/metrics/sales/rep/overview/self", content: repFigures },
]
let views, overviews

/* 403: not for the role; 422: of one company alone, or of a person, and the token is of all, or of none. */
const attempt = path => read(path).then(found => ({ status: 200, found }), problem => {
    if (problem.status === 403 || problem.status === 422)
        return { status: problem.status }
    throw problem
})

/* Of each what its path is answered, asked once. */
async function tried(wanted) {
    const paths = [...new Set(wanted.map(({ path }) => path))], answers = await Promise.all(paths.map(attempt))
    return wanted.map(one => ({ ...one, ...answers[paths.indexOf(one.path)] }))
}
const isOpen = ({ status }) => status === 200

/* What the token's role may see is what the API answers; the times are those of its company. */
async function enter() {
    const lists = (await tried(VIEWS)).filter(isOpen), all = await tried(OVERVIEWS)
    ofAll = all[0].status === 422
    decides = ofAll || all.some(isOpen)
    overviews = ofAll ? all : (decides ? all : await tried(OWN_OVERVIEWS)).filter(isOpen)
    timeZone = overviews[0]?.found?.time_zone
    views = overviews.length ? [...lists, FIGURES] : lists
    if (!views.length)
        throw new Problem(401, "This token opens nothing here.")
}

function signIn(why = "") {
    sessionStorage.removeItem(KEY)
    views = undefined
    navigate()
    const note = make("p", { class: "note", role: "alert" }, why)
    const token = make("input", { type: "password", required: true, autocomplete: "current-password" })
    show(sheet("Sign in", make("form", { class: "card", onsubmit: guarded(() => {
        sessionStorage.setItem(KEY, token.value.trim())
        return route()
    }, note) }, make("label", {}, "Your token", token), make("p", { class: "note" }, "It begins with sb_; whoever runs Switchboard makes it."),
                                  make("button", {}, "Sign in"), note)))
    token.focus()
}

function navigate(place) {
    document.getElementById("leave").hidden = !views
    document.getElementById("views").replaceChildren(...(views ?? []).map(one =>
        make("a", { href: `#/${one.place}`, "aria-current": one.place === place ? "page" : null }, one.title)))
}

let turn = 0 // only what was asked for last is shown

async function route() {
    const mine = ++turn
    if (!sessionStorage.getItem(KEY))
        return signIn()
    const [path, parameters] = location.hash.replace(/^#\//, "").split("?"), [place, id] = path.split("/")
    let seen
    try {
        if (!views)
            await enter()
        const found = views.find(one => one.place === place) ?? views[0]
        navigate(found.place)
        seen = await (id && found.one ? found.one(decodeURIComponent(id)) : found.list(Object.fromEntries(new URLSearchParams(parameters))))
    } catch (problem) {
        if (!(problem instanceof Problem))
            reportError(problem)
        if (problem.status === 401)
            return signIn(problem.message)
        seen = sheet("This cannot be shown", make("p", { role: "alert" }, problem.message), make("button", { onclick: route }, "Try again"))
    }
    if (mine === turn)
        show(seen)
}

addEventListener("hashchange", route)
document.getElementById("leave").addEventListener("click", () => signIn())
route()
