--- The token of a call: which scopes it needs, and the metadata that carries it.
--
-- The scopes are those that the call was given, else those of the token source, else the method's. The list of
-- metadata for a token is kept as long as the token, so that a call costs no new list. A token leaves over TLS, or to
-- this machine.
--
-- @module wgtwo.authorization

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local metadata = require "wgtwo.metadata"

local authorization = {}

--- The scopes to ask a token for.
-- @tparam table client
-- @tparam ?string|table own what the call was given
-- @tparam ?string|table needed what the method, or the event types, need
-- @treturn ?string|table nil: those of the source
function authorization.scopes(client, own, needed)
  if own ~= nil then return own end
  local source = client.auth
  if not source or source.scopes or source.fixed then return nil end
  return needed or ""
end

--- The error of a token, or anything else that would authorize, on a connection that anyone can read.
-- @tparam string target
-- @treturn nil
-- @treturn wgtwo.error
function authorization.refuse_plaintext(target)
  return nil, errors.new{ kind = "oauth", code = "plaintext", target = target, retryable = false,
    message = "a token is not sent over a connection without TLS to another machine",
    hint = "leave out plaintext = true, or connect with auth = false" }
end

local function as_error(err, target)
  if errors.is(err) then return err end
  return errors.new{ kind = "oauth", code = "token_missing", target = target,
    message = err and tostring(err) or "the token source gave no token" }
end

--- The list for a token, made once for each.
local function with_token(client, token)
  local list = client.with_token[token]
  if not list then
    list = metadata.merge(client.metadata, { { "authorization", "Bearer " .. token.access_token } })
    client.with_token[token] = list
  end
  return list
end

--- The metadata of a call that starts now.
-- @tparam table client
-- @tparam ?string|table scopes of `authorization.scopes`
-- @tparam ?table own the call's own metadata, a checked list
-- @tparam ?number deadline on the clock of `core.now`
-- @treturn ?table a list of pairs
-- @treturn ?table|wgtwo.error the token in it (nil where there is none), or the error
function authorization.metadata(client, scopes, own, deadline)
  if own and metadata.has(own, "authorization") then
    if client.insecure then return authorization.refuse_plaintext(client.target) end
    return metadata.merge(client.metadata, own)
  end
  local source = client.auth
  if not source then return own and metadata.merge(client.metadata, own) or client.metadata end
  local token, err = source:token(scopes, deadline and math.max(0, deadline - core.now()))
  if not token then return nil, as_error(err, client.target) end
  local list = with_token(client, token)
  return own and metadata.merge(list, own) or list, token
end

--- The metadata of a call that starts now, without waiting for a token.
-- @tparam table client
-- @tparam ?string|table scopes
-- @treturn ?table a list of pairs; nil where a token has to be asked for
-- @treturn ?table the token in it
function authorization.peek(client, scopes)
  local source = client.auth
  if not source then return client.metadata end
  local token = source.peek and source:peek(scopes)
  if not token then return nil end
  return with_token(client, token), token
end

return authorization
