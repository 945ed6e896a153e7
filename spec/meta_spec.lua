-- The type stubs name what there is: each function of core.meta.lua is in the core and the other way round, and each of
-- wgtwo.meta.lua is in its module.
local core = require "wgtwo.core"

local function read(module)
  local path = assert(package.searchpath(module, (package.path:gsub("%.lua", ".meta.lua"))))
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

-- Functions by the local name that they are declared on: { core = { poll = true, … }, call = { … } }.
local function declared(text)
  local found = {}
  for owner, name in text:gmatch("\nfunction ([%w_]+)[.:]([%w_]+)%(") do
    found[owner] = found[owner] or {}
    found[owner][name] = true
  end
  return found
end

local function names(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local function functions(t, except)
  local found = {}
  for name, value in pairs(t) do
    if type(value) == "function" and not (except and except[name]) then found[name] = true end
  end
  return names(found)
end

describe("core.meta.lua", function()
  local text = read "wgtwo.core"
  local stubs = declared(text)

  it("has every function of the core, and no other", function()
    assert.same(functions(core), names(stubs.core))
  end)

  it("has every method of the core's objects, and no other", function()
    require "wgtwo.http" -- which core.http loads when it is called
    for owner in pairs(stubs) do
      if owner ~= "core" and owner ~= "op" then
        local class = text:match("%-%-%-@class (wgtwo%.[%w_]+)[^\n]*\nlocal " .. owner .. " = ")
        local kind = class == "wgtwo.http_request" and "wgtwo.http" or class
        local metatable = debug.getregistry()[kind]
        if owner == "schema" then metatable = debug.getmetatable(require("wgtwo.schema").default()) end
        assert(metatable, kind)
        assert.same(functions(metatable.__index, { close = true }), names(stubs[owner]), owner)
      end
    end
  end)
end)

describe("httpd.meta.lua", function()
  it("has every function and method of the module, and no other", function()
    local stubs, httpd = declared(read "wgtwo.httpd"), require "wgtwo.httpd"
    assert.same(functions(httpd), names(stubs.httpd))
    local daemon <close> = assert(httpd.listen{})
    assert.same(functions(getmetatable(daemon).__index, { close = true }), names(stubs.daemon))
  end)
end)

describe("wgtwo.meta.lua", function()
  it("has only what there is", function()
    local stubs = declared(read "wgtwo.wgtwo")
    local modules = { errors = "wgtwo.error", messages = "wgtwo.message", schemas = "wgtwo.schema", loop = "wgtwo.loop",
      sms = "wgtwo.sms", oauth = "wgtwo.oauth", wgtwo = "wgtwo" }
    for owner, module in pairs(modules) do
      for name in pairs(stubs[owner]) do
        assert.is_not_nil(require(module)[name], module .. "." .. name)
      end
    end
  end)

  it("has every public function of the modules of one table", function()
    local stubs = declared(read "wgtwo.wgtwo")
    assert.same(functions(require "wgtwo.message"), names(stubs.messages))
    assert.same(functions(require "wgtwo.schema"), names(stubs.schemas))
  end)
end)
