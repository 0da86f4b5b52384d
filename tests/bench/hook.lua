-- wrk script: CallRail webhooks of 1 KiB, signed.
--     wrk -t1 -c64 -d5s -s tests/bench/hook.lua http://127.0.0.1:5000/api/v1/callrail/call.completed -- KEY [CALLS [PREFIX]]
-- KEY is CALLRAIL_SIGNING_KEY, CALLS how many different calls there are (default 1000), PREFIX what their ids begin with.
-- All requests are made and signed before the first is sent.
local bit = require("bit")
local band, bor, bxor, bnot, rol, tobit = bit.band, bit.bor, bit.bxor, bit.bnot, bit.rol, bit.tobit

local function word(n)
    return string.char(band(bit.rshift(n, 24), 255), band(bit.rshift(n, 16), 255), band(bit.rshift(n, 8), 255), band(n, 255))
end

-- FIPS 180-4
local function sha1(message)
    local h0, h1, h2, h3, h4 = 0x67452301, tobit(0xEFCDAB89), tobit(0x98BADCFE), 0x10325476, tobit(0xC3D2E1F0)
    local bits = #message * 8
    message = message .. "\128" .. string.rep("\0", (55 - #message) % 64) .. word(0) .. word(bits)
    local w = {}
    for block = 1, #message, 64 do
        for i = 0, 15 do
            local a, b, c, d = message:byte(block + i * 4, block + i * 4 + 3)
            w[i] = bor(bit.lshift(a, 24), bit.lshift(b, 16), bit.lshift(c, 8), d)
        end
        for i = 16, 79 do
            w[i] = rol(bxor(w[i - 3], w[i - 8], w[i - 14], w[i - 16]), 1)
        end
        local a, b, c, d, e = h0, h1, h2, h3, h4
        for i = 0, 79 do
            local f, k
            if i < 20 then
                f, k = bor(band(b, c), band(bnot(b), d)), 0x5A827999
            elseif i < 40 then
                f, k = bxor(b, c, d), 0x6ED9EBA1
            elseif i < 60 then
                f, k = bor(band(b, c), band(b, d), band(c, d)), 0x8F1BBCDC
            else
                f, k = bxor(b, c, d), 0xCA62C1D6
            end
            a, b, c, d, e = tobit(rol(a, 5) + f + e + k + w[i]), a, rol(b, 30), c, d
        end
        h0, h1, h2, h3, h4 = tobit(h0 + a), tobit(h1 + b), tobit(h2 + c), tobit(h3 + d), tobit(h4 + e)
    end
    return word(h0) .. word(h1) .. word(h2) .. word(h3) .. word(h4)
end

-- RFC 2104
local function hmac_sha1(key, message)
    if #key > 64 then key = sha1(key) end
    key = key .. string.rep("\0", 64 - #key)
    local inner, outer = {}, {}
    for i = 1, 64 do
        inner[i] = string.char(bxor(key:byte(i), 0x36))
        outer[i] = string.char(bxor(key:byte(i), 0x5C))
    end
    return sha1(table.concat(outer) .. sha1(table.concat(inner) .. message))
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
    local out = {}
    for i = 1, #bytes, 3 do
        local a, b, c = bytes:byte(i, i + 2)
        local n = a * 65536 + (b or 0) * 256 + (c or 0)
        for shift = 18, 0, -6 do
            local at = band(bit.rshift(n, shift), 63) + 1
            out[#out + 1] = alphabet:sub(at, at)
        end
        if not b then out[#out - 1] = "=" end
        if not c then out[#out] = "=" end
    end
    return table.concat(out)
end

local requests, next_request = {}, 0

function init(arguments)
    local key, calls, prefix = arguments[1] or "", tonumber(arguments[2] or 1000), arguments[3] or "BENCH"
    assert(base64(hmac_sha1("key", "The quick brown fox jumps over the lazy dog")) == "3nybhbi3iqa8ino29wqQcBydtNk=")
    for n = 1, calls do
        local body = string.format('{"call_id":"%s-%d","tracking_number":"+15550100009","caller_number":"+1555%07d","answered":true,'
            .. '"duration":"61","direction":"inbound","recording_url":"https://recordings.example.test/%s-%d.wav",'
            .. '"timestamp":"2026-11-21T07:00:00.000Z","note":"', prefix, n, n, prefix, n)
        body = body .. string.rep("x", 1024 - #body - 2) .. '"}'
        requests[n] = wrk.format("POST", nil, { ["Content-Type"] = "application/json", ["Signature"] = base64(hmac_sha1(key, body)) }, body)
    end
end

function request()
    next_request = next_request % #requests + 1
    return requests[next_request]
end

function done(summary, latency)
    io.write(string.format("answered %d, %.0f a second, not 2xx %d, errors %d, p50 %.2f ms, p99 %.2f ms\n", summary.requests,
        summary.requests / summary.duration * 1e6, summary.errors.status,
        summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
