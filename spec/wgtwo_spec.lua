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
end)
