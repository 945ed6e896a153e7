--- What a token endpoint answered: a token, or an error that says what is wrong with the answer.
--
-- Nothing about an answer is taken for granted: a proxy's HTML page, a body cut in the middle, a lifetime as text,
-- negative or missing. No part of a body gets into an error except the fields RFC 6749 defines for people, masked.
--
-- @module wgtwo.oauth.answer

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"

local answer = {}

-- A token. Its fields are what the endpoint said, `tostring` shows none that is secret.
local token_class = { __name = "wgtwo.oauth.token" }

function token_class:__tostring()
  local left = self.expires_at and ("%.0f s left"):format(self.expires_at - core.time()) or "no known end"
  return ("wgtwo.oauth.token(%s, %s)"):format(self.scope and self.scope ~= "" and self.scope or "no scope", left)
end

--- Makes a token of its fields.
-- @tparam table fields
-- @treturn table
function answer.new_token(fields)
  return setmetatable(fields, token_class)
end

--- Statuses after which the same request may succeed.
local function passing(status)
  return status == 408 or status == 429 or status >= 500
end

local passing_codes = { temporarily_unavailable = true, server_error = true, slow_down = true }

local function failure(context, fields)
  fields.kind, fields.target = "oauth", context.url
  return nil, errors.new(fields, context.secrets)
end

--- The body as a table, or nil and what it is instead.
local function read_body(response)
  local media = (response.headers["content-type"] or "no content type"):match("^[^;]*")
  local value, reason = core.json_decode(response.body)
  if type(value) == "table" then return value end
  if value ~= nil then return nil, "JSON, but no object" end
  if response.body == "" then return nil, "an empty body" end
  if media:find("json", 1, true) then
    return nil, ("%d bytes of broken JSON (%s)"):format(#response.body, (reason or "cut"):sub(1, 80))
  end
  return nil, ("%d bytes of %s, not JSON"):format(#response.body, media:sub(1, 60))
end

local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

--- The error of an answer that is none of success.
local function refusal(response, body, what, context)
  local status = response.status
  local code = body and text(body.error)
  if code and (not code:find("^[%w_.-]+$") or errors.redact(code, context.secrets) ~= code) then code = nil end
  local message = body and (text(body.error_description) or text(body.error_hint))
  local fields = {
    http_status = status, code = code or "http_" .. status,
    message = message or code and "the identity server refused the request"
      or ("the identity server answered HTTP %d with %s"):format(status, what or "JSON without an error"),
    retryable = passing_codes[code] or code ~= "invalid_client" and passing(status) or false,
  }
  if status >= 300 and status < 400 then
    fields.message = ("HTTP %d: the address of the endpoint has moved; redirects are not followed"):format(status)
  end
  return failure(context, fields)
end

--- Seconds that a token lives, from whatever expires_in is. Missing or no number: what is usual; not positive: 0.
local function lifetime(value)
  local seconds = tonumber(value)
  if not seconds or seconds ~= seconds then return limits.oauth.lifetime end
  return math.max(0, math.min(seconds, limits.timeout_max))
end

--- Reads an answer that should be a JSON object.
-- @tparam table response of `core.http`: status, headers, body
-- @tparam table context `url`, and `secrets` to mask
-- @treturn ?table the object
-- @treturn ?wgtwo.error of kind "oauth"; its `code` is the one of RFC 6749, "http_502", or "invalid_answer"
function answer.object(response, context)
  local body, what = read_body(response)
  if response.status ~= 200 or body and text(body.error) then return refusal(response, body, what, context) end
  if body then return body end
  return failure(context, { code = "invalid_answer", http_status = 200, retryable = false,
    message = ("the identity server answered with %s"):format(what) })
end

--- Reads the answer of a token endpoint.
-- @tparam table response of `core.http`
-- @tparam table context `url`, `secrets`, `asked` (the scope that was asked for), `started` (on the clock of
--   `core.time`)
-- @treturn ?table access_token, token_type, scope (what was granted), expires_in and expires_at (seconds), and
--   where they came refresh_token and id_token
-- @treturn ?wgtwo.error of kind "oauth"
function answer.token(response, context)
  local body, err = answer.object(response, context)
  if not body then return nil, err end
  local function odd(message)
    return failure(context, { code = "invalid_answer", http_status = 200, message = message, retryable = false })
  end
  local access_token = text(body.access_token)
  if not access_token then return odd("the identity server's answer has no access_token") end
  if access_token:find("[^\33-\126]") then
    return odd("the identity server's access_token has bytes that no header may have")
  end
  local token_type = body.token_type == nil and "bearer" or text(body.token_type) or "?"
  if token_type:lower() ~= "bearer" then
    return odd(('a token of type "%s" cannot be used, only "bearer"'):format(token_type:sub(1, 40)))
  end
  local expires_in = lifetime(body.expires_in)
  return answer.new_token{
    access_token = access_token, token_type = token_type, scope = text(body.scope) or context.asked,
    expires_in = expires_in, expires_at = context.started + expires_in,
    refresh_token = text(body.refresh_token), id_token = text(body.id_token),
  }
end

--- What Retry-After asks for.
-- @tparam ?string value seconds, or a date
-- @tparam number now on the clock of `core.time`
-- @treturn ?number seconds, nil where there is nothing to read
-- @usage answer.retry_after("3", now) --> 3
function answer.retry_after(value, now)
  if not value then return nil end
  local seconds = tonumber(value:match("^%s*(%d+)%s*$"))
  if seconds then return seconds end
  local day, name, year, hour, minute, second = value:match("(%d%d?)%s+(%a%a%a)%s+(%d%d%d%d)%s+(%d%d):(%d%d):(%d%d)")
  local at = name and ("JanFebMarAprMayJunJulAugSepOctNovDec"):find(name, 1, true)
  if not at or at % 3 ~= 1 then return nil end
  local month = (at + 2) // 3
  -- days since the epoch of a civil date
  local y = math.tointeger(year) - (month <= 2 and 1 or 0)
  local era_year, shifted = y % 400, (month + 9) % 12
  local day_of_year = (153 * shifted + 2) // 5 + math.tointeger(day) - 1
  local days = y // 400 * 146097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719468
  return math.max(0, days * 86400 + hour * 3600 + minute * 60 + second - now)
end

return answer
