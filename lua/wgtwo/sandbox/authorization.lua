--- Who calls, and whether they may: the token of a call and the scope of a method.
--
-- As the platform's sandbox: no `authorization` is fine (unless the sandbox is strict), one that is sent must be valid.
-- A method's scope is checked here; of `wgtwo.events.v0` it follows from the event types, which the handler checks.
--
-- @module wgtwo.sandbox.authorization

local status = require "wgtwo.sandbox.status"

local authorization = {}

local ANONYMOUS <const> = {}

-- Methods of gRPC itself: anyone may ask them, also in strict mode.
local open_services = {
  ["grpc.health.v1.Health"] = true,
  ["grpc.reflection.v1.ServerReflection"] = true,
  ["grpc.reflection.v1alpha.ServerReflection"] = true,
}

local function unauthenticated(message)
  return nil, status.new("UNAUTHENTICATED", message)
end

local function bearer_of(header)
  return header:match("^[Bb]earer +(%S+)$")
end

--- Checks a call.
-- @tparam table sandbox the server
-- @tparam ?string header its `authorization`
-- @tparam table route
-- @treturn ?table `client` (id), `scopes` (a set), `user` (of a token that a user granted); nil without a token
-- @treturn ?table a status
function authorization.check(sandbox, header, route)
  local method = route.method
  if not header then
    if sandbox.settings.strict and not open_services[method.service] then
      return unauthenticated("a token is needed: this sandbox is strict")
    end
    return ANONYMOUS
  end
  local value = bearer_of(header)
  if not value then return unauthenticated("authorization is not of the form \"Bearer TOKEN\"") end
  local token, problem = sandbox.tokens:check(value)
  if not token then return unauthenticated(problem) end
  if method.scope and not token.scopes[method.scope] then
    return nil, status.missing_scope(method.scope, method.name)
  end
  return token
end

--- Whose token a call has, whether it is enough or not, or has expired: for the journal of refused calls.
-- @tparam table sandbox the server
-- @tparam ?string header its `authorization`
-- @treturn ?string the client's id; nil where the token is not known
function authorization.client(sandbox, header)
  local value = header and bearer_of(header)
  local token = value and sandbox.tokens.access[value]
  return token and token.client
end

return authorization
