--- What can fail at run time, as one kind of object.
--
-- A function of this rock that fails for a reason outside the script returns `nil, err` with such an object.
-- Its fields are for programs, `tostring(err)` is one line for people. No secret gets into either: texts that come
-- from elsewhere pass `redact`.
--
-- Fields: `kind` ("rpc", "oauth", "http", "sms", "ack", "timeout", "closed"; or "decode", of the functions that read
-- bytes or a text that the script gives), `code` (a name), `number` (the gRPC status number, for "rpc"), `http_status`,
-- `message`, `details` (a list), `metadata` (name → value, trailing), `method`, `target`, `scope` (what the method
-- needs), `hint` (what to do next), `retryable`, and `outcome`, of what sends or creates: "not_sent",
-- "rejected", or "unknown" (what was asked for may have happened).
--
-- @module wgtwo.error

local error_class = {}
error_class.__name = "wgtwo.error"
error_class.__index = error_class

local M = {}

local kinds = {
  rpc = true, oauth = true, http = true, sms = true, ack = true, timeout = true, closed = true, decode = true,
}

-- Number, name, HTTP equivalent, whether trying again may work, what it says when the server says nothing.
-- HTTP: the platform's table where it has one (so UNIMPLEMENTED is 404), google.rpc.Code's for the others.
local statuses = {
  { 0, "OK", 200, false, "no error" },
  { 1, "CANCELLED", 499, false, "the call was cancelled" },
  { 2, "UNKNOWN", 500, true, "unknown error" },
  { 3, "INVALID_ARGUMENT", 400, false, "the request is not valid" },
  { 4, "DEADLINE_EXCEEDED", 504, true, "no answer in time" },
  { 5, "NOT_FOUND", 404, false, "not found" },
  { 6, "ALREADY_EXISTS", 409, false, "exists already" },
  { 7, "PERMISSION_DENIED", 403, false, "not allowed" },
  { 8, "RESOURCE_EXHAUSTED", 429, true, "too many requests, or a quota is used up" },
  { 9, "FAILED_PRECONDITION", 400, false, "not possible in the present state" },
  { 10, "ABORTED", 409, true, "aborted by a conflict" },
  { 11, "OUT_OF_RANGE", 400, false, "out of range" },
  { 12, "UNIMPLEMENTED", 404, false, "the server does not have this method" },
  { 13, "INTERNAL", 500, true, "internal error of the server" },
  { 14, "UNAVAILABLE", 503, true, "the server cannot be reached" },
  { 15, "DATA_LOSS", 500, false, "data was lost" },
  { 16, "UNAUTHENTICATED", 401, false, "no valid token" },
}

local by_number, by_name = {}, {}
for _, row in ipairs(statuses) do
  local status = { number = row[1], name = row[2], http = row[3], retryable = row[4], text = row[5] }
  by_number[status.number], by_name[status.name] = status, status
end

--- The name of a gRPC status number.
-- @tparam int number
-- @treturn string such as "UNAVAILABLE"; a number that gRPC does not have becomes "UNKNOWN"
-- @usage error.name(14) --> "UNAVAILABLE"
function M.name(number)
  return (by_number[number] or by_number[2]).name
end

--- The number of a gRPC status name.
-- @tparam string name
-- @treturn ?int nil for a name that gRPC does not have
-- @usage error.number("UNAVAILABLE") --> 14
function M.number(name)
  return by_name[name] and by_name[name].number
end

--- The HTTP status that a gRPC status corresponds to.
-- @tparam int|string status number or name
-- @treturn int
-- @usage error.http_status("PERMISSION_DENIED") --> 403
function M.http_status(status)
  return (by_number[status] or by_name[status] or by_number[2]).http
end

--- Whether a gRPC status may pass when the call is made again.
-- @tparam int|string status number or name
-- @treturn boolean
function M.retryable(status)
  return (by_number[status] or by_name[status] or by_number[2]).retryable
end

-- Names of fields and parameters whose values are secret: by their end, so that access_token and client_secret are in.
local secret_ends = {
  "secret", "token", "password", "passwd", "assertion", "verifier", "api_key", "apikey", "authorization",
}
local public_names = { page_token = true, next_page_token = true }

--- Whether a field, parameter or header of that name holds a secret.
-- @tparam string name
-- @treturn boolean
-- @usage error.is_secret_name("client_secret") --> true
function M.is_secret_name(name)
  name = name:lower():gsub("%-", "_")
  if public_names[name] then return false end
  for _, ending in ipairs(secret_ends) do
    if name:sub(-#ending) == ending then return true end
  end
  return false
end

local MASK = "***"

local function mask_value(name, between, value)
  return M.is_secret_name(name) and name .. between .. MASK or name .. between .. value
end

--- A text without the secrets in it: bearer tokens, Basic credentials, JSON Web Tokens, passwords in addresses,
-- values of fields that are named like secrets (`access_token`, `client_secret`, …), and those given.
-- @tparam string text
-- @tparam ?table secrets a list of strings to mask wherever they occur
-- @treturn string
-- @usage error.redact("authorization: Bearer abc") --> "authorization: ***"
function M.redact(text, secrets)
  for _, secret in ipairs(secrets or {}) do
    if #secret >= 4 then
      text = text:gsub((secret:gsub("%p", "%%%0")), MASK)
    end
  end
  text = text:gsub("([Bb][Ee][Aa][Rr][Ee][Rr]%s+)([%w%-%._~%+/]+=*)", function(scheme, token)
    -- "bearer token" in prose has no digit and is short; a credential is hardly ever both
    if #token < 12 and not token:find("%d") then return nil end
    return scheme .. MASK
  end)
  text = text:gsub("(%f[%w][Bb]asic%s+)([%w+/]+=*)", function(scheme, credentials)
    if #credentials < 8 or credentials:match("^%l+$") then return nil end
    return scheme .. MASK
  end)
  text = text:gsub("eyJ[%w_%-]+%.[%w_%-]+%.?[%w_%-]*", MASK)
  text = text:gsub("(%a[%w+.%-]*://)[^%s/@]+:[^%s/@]*@", "%1" .. MASK .. "@")
  text = text:gsub("([Aa]uthorization)(%s*:%s*)([^\r\n\"]+)", "%1%2" .. MASK)
  text = text:gsub('([%w_%-]+)("%s*:%s*")([^"]*)', mask_value)                -- JSON
  text = text:gsub("([%w_%-]+)(%s*=%s*[\"'])([^\"']*)", mask_value)           -- Lua, headers
  text = text:gsub("([%w_%-]+)(=)([^%s&;,\"']+)", mask_value)                 -- forms
  text = text:gsub("([%w%-]+_[%w_%-]+)(:%s*)([^%s&;,\"']+)", mask_value)      -- client_secret: value
  return text
end

local function one_line(text)
  return (text:gsub("%s*[\r\n]+%s*", " "):gsub("%c", " "))
end

--- What to do next, where that is known.
local function advice(err)
  if err.hint then return err.hint end
  if err.outcome == "unknown" then return nil end -- trying again may do it twice
  local code = err.code
  if code == "PERMISSION_DENIED" then
    return err.scope and ('the token needs the scope "%s"'):format(err.scope)
      or "the token lacks a scope, or the product may not do this"
  elseif code == "UNAUTHENTICATED" then
    return "check the client id and secret, or the token; a token of another environment does not count"
  elseif code == "UNIMPLEMENTED" then
    return "check the method's name and that the target is the right environment"
  elseif code == "RESOURCE_EXHAUSTED" and err.kind == "rpc" then
    return err.message:find("larger than max", 1, true) and "set max_message_size higher"
      or "wait, then try again less often"
  elseif code == "DEADLINE_EXCEEDED" then
    return "try again, or set a longer timeout"
  elseif code == "UNAVAILABLE" then
    return "check the target and the network, then try again"
  elseif code == "unreachable" then
    return "check the address and the network, then try again"
  elseif code == "invalid_client" then
    return "check the client id and secret"
  elseif code == "invalid_scope" then
    return "the client may not have this scope"
  end
end

--- One line: code, number, message, method and target, what to do next.
-- @treturn string
function error_class:__tostring()
  local words = { self.code or self.kind }
  if self.number then
    words[1] = ("%s (%d)"):format(words[1], self.number)
  elseif self.http_status then
    words[1] = ("%s (HTTP %d)"):format(words[1], self.http_status)
  end
  if self.message ~= "" then words[1] = words[1] .. ": " .. self.message end
  if self.method and self.target then
    words[#words + 1] = ("[%s at %s]"):format(self.method, self.target)
  elseif self.method or self.target then
    words[#words + 1] = ("[%s]"):format(self.method or self.target)
  end
  if self.outcome == "unknown" then words[#words + 1] = "- it may have happened nevertheless" end
  local next_step = advice(self)
  if next_step then words[#words + 1] = "- " .. next_step end
  return M.redact(one_line(table.concat(words, " ")))
end

--- So that an error can be part of a text: `"failed: " .. err`.
function error_class.__concat(a, b)
  return tostring(a) .. tostring(b)
end

--- Makes an error.
-- @tparam table fields as listed at the top; `kind` is required. For a `code` that gRPC has and kind "rpc",
--   `number`, `http_status` and `retryable` follow from it unless given
-- @tparam[opt] table secrets strings that must not show in the message
-- @treturn wgtwo.error
-- @usage return nil, error.new{ kind = "timeout", message = "no event within 5 s" }
function M.new(fields, secrets)
  if not kinds[fields.kind] then error(("error.new: unknown kind %s"):format(tostring(fields.kind)), 2) end
  local err = {}
  for name, value in pairs(fields) do err[name] = value end
  local status = err.kind == "rpc" and (by_name[err.code] or by_number[err.number])
  if status then
    err.code = err.code or status.name
    if err.number == nil then err.number = status.number end
    if err.http_status == nil then err.http_status = status.http end
    if err.retryable == nil then err.retryable = status.retryable end
  end
  err.code = err.code or err.kind
  err.message = M.redact(one_line(err.message or ""), secrets)
  err.details = err.details or {}
  err.metadata = err.metadata or {}
  if err.retryable == nil then err.retryable = err.kind == "timeout" end
  return setmetatable(err, error_class)
end

--- A wait that took too long.
-- @tparam string message what was waited for, and how long
-- @tparam ?table fields more fields
-- @treturn wgtwo.error of kind "timeout"
function M.timeout(message, fields)
  local all = { kind = "timeout", message = message }
  for name, value in pairs(fields or {}) do all[name] = value end
  return M.new(all)
end

--- Something used after its end.
-- @tparam string message what was closed
-- @tparam ?table fields more fields
-- @treturn wgtwo.error of kind "closed"
function M.closed(message, fields)
  local all = { kind = "closed", message = message }
  for name, value in pairs(fields or {}) do all[name] = value end
  return M.new(all)
end

--- Whether a value is an error of this rock.
-- @param value anything
-- @treturn boolean
-- @usage if wgtwo.error.is(err) and err.retryable then … end
function M.is(value)
  return getmetatable(value) == error_class
end

--- Metadata as a table: a list of {name, value} pairs in, name → value out.
-- A name that occurs more than once has its values joined with ", "; of binary ones (`-bin`) the first stays.
-- @tparam ?table list
-- @treturn table
function M.metadata(list)
  local map = {}
  for _, pair in ipairs(list or {}) do
    local name, value = pair[1], pair[2]
    if map[name] == nil then
      map[name] = value
    elseif name:sub(-4) ~= "-bin" then
      map[name] = map[name] .. ", " .. value
    end
  end
  return map
end

--- The fields of a decoded detail, as plain Lua, with its type's name.
local function detail(schema, core, any)
  local name = any.type_url:match("[^/]*$")
  local kind = schema:type(name)
  local message = kind and core.decode(kind, any.value)
  if not message then return { type = name, value = any.value } end
  local fields = core.totable(message)
  fields.type = name
  return fields
end

--- The list that `grpc-status-details-bin` holds: google.rpc.Status, each detail with `type` and its fields; one
-- of a type that the schema does not have keeps its bytes as `value`.
-- @tparam string bytes
-- @tparam[opt] schema schema default: the one of this rock
-- @treturn table a list, empty where the bytes are not a google.rpc.Status
-- @usage for _, d in ipairs(err.details) do if d.type == "google.rpc.RetryInfo" then … end end
function M.details(bytes, schema)
  local list = {}
  local core = require "wgtwo.core"
  if not schema then -- an error must not fail because the description is missing
    local ok, found = pcall(function() return require("wgtwo.schema").default() end)
    if not ok then return list end
    schema = found
  end
  local status_type = schema:type("google.rpc.Status")
  local status = status_type and core.decode(status_type, bytes)
  if not status then return list end
  for _, any in ipairs(core.totable(status).details or {}) do
    list[#list + 1] = detail(schema, core, any)
  end
  return list
end

--- An error from the status of a call.
-- @tparam table status as `call:status()` of the core gives it: code, message, metadata, error
-- @tparam[opt] table info `method`, `target`, `scope`; `message` and `hint` where the caller knows better than the
--   transport what is wrong; `schema` for the details
-- @treturn wgtwo.error of kind "rpc"
-- @usage return nil, error.rpc(call:status(), { method = "pkg.Service/Method", target = "host:443" })
function M.rpc(status, info)
  info = info or {}
  local known = by_number[status.code] or by_number[2]
  local metadata = M.metadata(status.metadata)
  local message = info.message or status.message
  if not message or message == "" then message = status.error end
  if not message or message == "" then message = known.text end
  local bytes = metadata["grpc-status-details-bin"]
  return M.new{
    kind = "rpc", code = known.name, number = status.code, http_status = known.http, retryable = known.retryable,
    message = message, metadata = metadata, details = bytes and M.details(bytes, info.schema) or {},
    method = info.method, target = info.target, scope = info.scope, hint = info.hint, outcome = info.outcome,
  }
end

return M
