-- wrk: every request carries one of COUNT tokens, in an order that visits all of them (61 divides neither 1 nor 1,000).
-- wrk ... -s tokens.lua URL -- COUNT; the result is one line of JSON on standard output.
local requests, at = {}, 0

function init(arguments)
  for number = 1, tonumber(arguments[1]) do
    local token = string.format("5eed0000-0000-4000-8000-%012d", number)
    requests[number] = "GET /api/thing HTTP/1.1\r\nHost: bench.test\r\nAuthorization: Bearer " .. token .. "\r\n\r\n"
  end
end

function request()
  at = (at + 61) % #requests
  return requests[at + 1]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format('\n{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50":%.0f,"p99":%.0f}\n',
    summary.requests, summary.duration / 1e6, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout, latency:percentile(50), latency:percentile(99)))
end
