--- How calls fail: a gRPC status with its details.
--
-- A handler that fails returns `nil, status`. Details travel as the platform's gRPC servers send them, a
-- google.rpc.Status in the trailing metadata `grpc-status-details-bin`.
--
-- @module wgtwo.sandbox.status

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local schema = require "wgtwo.schema"

local Status = {}
Status.__index = Status

local status = {}

--- A status.
-- @tparam string|int code a gRPC status name or number
-- @tparam string message
-- @tparam[opt] table details a list of `{type = "google.rpc.RetryInfo", …fields…}`
-- @treturn table `code` (number), `name`, `message`, `details`
-- @raise an unknown code
function status.new(code, message, details)
  local number = math.type(code) == "integer" and code or errors.number(code)
  if not number or number < 0 or number > 16 then error(("there is no gRPC status %q"):format(tostring(code)), 2) end
  return setmetatable({ code = number, name = errors.name(number), message = message or "", details = details }, Status)
end

--- Whether a value is a status.
function status.is(value)
  return getmetatable(value) == Status
end

--- INVALID_ARGUMENT for one field.
-- @tparam string field its path
-- @tparam string description what is wrong with it
-- @treturn table
function status.invalid(field, description)
  return status.new("INVALID_ARGUMENT", ("%s: %s"):format(field, description), {
    { type = "google.rpc.BadRequest", field_violations = { { field = field, description = description } } },
  })
end

--- PERMISSION_DENIED for a scope that a token does not have.
-- @tparam string scope
-- @tparam string method
-- @tparam ?string what it is needed for: "for SMS_EVENT"
-- @treturn table
function status.missing_scope(scope, method, what)
  local message = ('the token lacks the scope "%s"%s'):format(scope, what and " " .. what or "")
  return status.new("PERMISSION_DENIED", message, { {
    type = "google.rpc.ErrorInfo", reason = "INSUFFICIENT_SCOPE", domain = "sandbox",
    metadata = { scope = scope, method = method },
  } })
end

--- RESOURCE_EXHAUSTED, with how long to wait.
-- @tparam number seconds
-- @treturn table
function status.rate_limited(seconds)
  return status.new("RESOURCE_EXHAUSTED", ("rate limit reached, try again in %g s"):format(seconds), {
    { type = "google.rpc.RetryInfo", retry_delay = seconds },
  })
end

local function encode_detail(detail)
  if type(detail.type) ~= "string" then error("each has a type, such as google.rpc.RetryInfo", 0) end
  local fields = {}
  for name, value in pairs(detail) do
    if name ~= "type" then fields[name] = value end
  end
  return { type_url = "type.googleapis.com/" .. detail.type, value = core.encode(schema.type(detail.type), fields) }
end

--- Checks details that somebody else wrote.
-- @treturn ?string what is wrong with them
function status.check_details(details)
  local ok, err = pcall(function()
    for _, detail in ipairs(details) do encode_detail(detail) end
  end)
  if not ok then return tostring(err) end
end

--- The trailing metadata of a status.
-- @treturn ?table a list of pairs, nil without details
function Status:trailers()
  if not self.details or #self.details == 0 then return nil end
  local encoded = {}
  for i, detail in ipairs(self.details) do encoded[i] = encode_detail(detail) end
  return { { "grpc-status-details-bin", core.encode(schema.type("google.rpc.Status"), {
    code = self.code, message = self.message, details = encoded,
  }) } }
end

--- Ends a call with this status.
-- @tparam userdata call of the core
function Status:finish(call)
  call:finish(self.code, self.message, self:trailers())
end

function Status:__tostring()
  return ("%s: %s"):format(self.name, self.message)
end

return status
