local process = require "spec.support.process"

describe("require 'wgtwo'", function()
  it("has the names of the documentation, each when it is first used", function()
    local result = process.lua([[
      local wgtwo = require "wgtwo"
      assert(wgtwo._VERSION == "0.1.0")
      assert(not package.loaded["wgtwo.core"], "nothing is loaded before it is used")
      assert(wgtwo.error.is(nil) == false)
      assert(not package.loaded["wgtwo.core"], "errors need no core")
      for _, name in ipairs{ "connect", "run", "spawn", "sleep" } do
        assert(type(wgtwo[name]) == "function", name)
      end
      for _, name in ipairs{ "oauth", "error", "message", "sms", "sandbox", "schema", "loop", "limits" } do
        assert(type(wgtwo[name]) == "table", name)
        assert(rawget(wgtwo, name) == wgtwo[name], name)
      end
      assert(wgtwo.nothing == nil)
    ]])
    assert.is_true(result.ok, result.errors)
  end)

  it("takes less than 10 ms", function()
    local best = math.huge
    for _ = 1, 5 do
      local result = process.lua [[
        local began = os.clock()
        require "wgtwo"
        print(os.clock() - began)
      ]]
      assert.is_true(result.ok, result.errors)
      best = math.min(best, tonumber(result.output))
    end
    assert.is_true(best < 0.010, best)
  end)
end)
