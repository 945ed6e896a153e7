--- What a method is called on. A dot instead of a colon is the usual slip: it is named, instead of what it leads to.
--
-- @module wgtwo.receiver
-- @local

local receiver = {}

local getmetatable, error = getmetatable, error

--- Puts a check in front of every method of a class, but not of its metamethods.
-- @tparam table class the metatable of its objects
-- @tparam string name of such an object, for the message
function receiver.check(class, name)
  for key, method in pairs(class) do
    if type(method) == "function" and key:sub(1, 2) ~= "__" then
      class[key] = function(self, ...)
        if getmetatable(self) ~= class then error(("call it with a colon: %s:%s(…)"):format(name, key), 2) end
        return method(self, ...)
      end
    end
  end
end

return receiver
