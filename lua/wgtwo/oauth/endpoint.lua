--- Requests to an identity server: the address is safe, an attempt that may pass is made again, no secret leaks.
--
-- A request carries the client's secret, so its address must be https, or http to this machine. Network errors, 429
-- (after what Retry-After asks for) and 5xx are tried again with backoff, a bounded number of times; every other
-- answer is final.
--
-- @module wgtwo.oauth.endpoint

local answer = require "wgtwo.oauth.answer"
local backoff = require "wgtwo.backoff"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"

local endpoint = {}

--- A text as it stands in a form or a query.
-- @tparam string value
-- @treturn string
-- @usage endpoint.escape("a b&c") --> "a%20b%26c"
function endpoint.escape(value)
  return (tostring(value):gsub("[^%w%-._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

--- Names and values as a form or query.
-- @tparam {{string,string},...} pairs_list those with a nil value are left out
-- @treturn string
-- @usage endpoint.form{ { "grant_type", "client_credentials" }, { "scope", "a b" } }
function endpoint.form(pairs_list)
  local parts = {}
  for _, pair in ipairs(pairs_list) do
    if pair[2] ~= nil then parts[#parts + 1] = endpoint.escape(pair[1]) .. "=" .. endpoint.escape(pair[2]) end
  end
  return table.concat(parts, "&")
end

--- Whether a host is this machine.
-- @tparam string host a name or address, an IPv6 address with or without its brackets
-- @treturn boolean
-- @usage endpoint.is_loopback("127.0.0.1") --> true
function endpoint.is_loopback(host)
  host = host:lower():gsub("^%[(.*)%]$", "%1"):gsub("%.$", "")
  if host == "localhost" or host:find("%.localhost$") or host == "::1" or host == "0:0:0:0:0:0:0:1" then return true end
  local a, b, c, d = host:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if not a then return false end
  for _, part in ipairs{ a, b, c, d } do
    if tonumber(part) > 255 then return false end
  end
  return tonumber(a) == 127
end

--- Whether a secret may be sent to an address: https to anywhere, http to this machine only.
-- @tparam string url
-- @treturn boolean
-- @treturn ?string why not
function endpoint.check_url(url)
  local scheme, authority = url:match("^(%a[%w+.-]*)://([^/?#]*)")
  if not scheme then return false, "must be an address such as https://id.wgtwo.com/oauth2/token" end
  if url:find("[%c%s]") then return false, "must not have spaces or control characters" end
  if authority:find("@", 1, true) then return false, "must not have a user name or password in it" end
  local host = authority:match("^(%[[%x:.]+%])") or authority:match("^[^:]*")
  if host == "" then return false, "has no host" end
  scheme = scheme:lower()
  if scheme == "https" then return true end
  if scheme == "http" and endpoint.is_loopback(host) then return true end
  return false, "must be https (http only to this machine): a secret would be sent in the clear"
end

--- The rule for an option that holds such an address.
endpoint.url_rule = { type = "string", check = endpoint.check_url }

local function unreachable(request, reason, curl_code)
  return errors.new({ kind = "oauth", code = "unreachable", target = request.url, retryable = true,
    message = reason, curl_code = curl_code }, request.secrets)
end

--- One request: its response, or nil and an error.
local function attempt(request)
  local op <close> = core.http{
    method = request.method or "POST", url = request.url, headers = request.headers, body = request.body,
    username = request.username, password = request.password, ca_file = request.ca_file,
    timeout = request.timeout, connect_timeout = math.min(request.timeout, limits.connect_timeout),
    max_body = limits.oauth.max_answer,
  }
  local response, reason, curl_code = loop.result(op)
  if not response then return nil, unreachable(request, reason, curl_code) end
  return response
end

--- How long to wait before the next attempt; nil, and what the server asks for, where that is too long.
local function pause(delays, response)
  local asked = response and answer.retry_after(response.headers["retry-after"], core.time())
  if asked and asked > limits.oauth.backoff.max then return nil, asked end
  return delays:next(asked)
end

--- Makes a request and reads the answer.
-- @tparam table request `url`, `body`, `headers`, `username`, `password`, `ca_file`, `timeout`, `method` (default
--   "POST"), `secrets` (to mask), `attempts` (default: those of `limits.oauth.backoff`), `failed` (called with the
--   error of each attempt that is made again)
-- @tparam function read (response, context) → the result, or nil and an error; the context has `url`, `secrets`,
--   `started`
-- @return the result, or nil and a wgtwo.error of kind "oauth"; its `curl_code` is libcurl's number where no
--   answer came
function endpoint.request(request, read)
  local policy = limits.oauth.backoff
  local delays = backoff.new{ initial = policy.initial, max = policy.max }
  local attempts = request.attempts or policy.attempts
  for count = 1, attempts do
    local started = core.time()
    local response, err = attempt(request)
    local result
    if response then
      result, err = read(response, { url = request.url, secrets = request.secrets, started = started })
      if result then return result end
    end
    err.attempts = count
    if not err.retryable or count == attempts then return nil, err end
    local delay, asked = pause(delays, response)
    if not delay then
      err.retry_after, err.hint = asked, ("the server asks to wait %d s"):format(asked)
      return nil, err
    end
    if request.failed then request.failed(err) end
    loop.sleep(delay)
  end
end

--- The headers of a form that wants JSON back.
endpoint.form_headers = { "Content-Type: application/x-www-form-urlencoded", "Accept: application/json" }

return endpoint
