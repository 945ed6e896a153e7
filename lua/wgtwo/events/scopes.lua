--- Scope sets as one text: sorted, each once, so that equal sets are equal texts.
--
-- @module wgtwo.events.scopes

local limits = require "wgtwo.limits"

local scopes = {}

--- The text of a set.
-- @tparam {string,...} list
-- @treturn string
-- @usage scopes.text{ "b", "a", "b" } --> "a b"
function scopes.text(list)
  local seen, names = {}, {}
  for _, name in ipairs(list) do
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return table.concat(names, " ")
end

--- What v0's event types need together.
-- @tparam {string,...} types
-- @treturn string
-- @usage scopes.of_types{ "SMS_EVENT" } --> "events.sms.subscribe"
function scopes.of_types(types)
  local needed = {}
  for _, name in ipairs(types) do needed[#needed + 1] = limits.v0_scope(name) end
  return scopes.text(needed)
end

return scopes
