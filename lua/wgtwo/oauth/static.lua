--- A token source for a token that comes from elsewhere, and is never renewed.
--
-- @module wgtwo.oauth.static

local answer = require "wgtwo.oauth.answer"
local receiver = require "wgtwo.receiver"

local Source = { __name = "wgtwo.oauth.static" }
Source.__index = Source

local hidden = setmetatable({}, { __mode = "k" })

--- See `wgtwo.oauth.static`.
local function new(token)
  if type(token) ~= "string" or token == "" then
    error("wgtwo.oauth.static: a token is needed, a text that is not empty", 2)
  elseif token:find("[^\33-\126]") then
    error("wgtwo.oauth.static: the token has spaces or bytes that no header may have", 2)
  end
  local source = setmetatable({ fixed = true }, Source)
  hidden[source] = answer.new_token{ access_token = token, token_type = "bearer" }
  return source
end

--- The token.
-- @treturn table access_token, token_type
function Source:token()
  return hidden[self]
end

Source.peek = Source.token

--- Does nothing: there is no other token.
function Source.invalidate() end

--- Shows no part of the token.
function Source.__tostring()
  return "wgtwo.oauth.static(***)"
end

receiver.check(Source, "source")

return new
