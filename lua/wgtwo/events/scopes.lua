--- Scope sets as one text: sorted, each once, so that equal sets are equal texts.
--
-- @module wgtwo.events.scopes

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

return scopes
