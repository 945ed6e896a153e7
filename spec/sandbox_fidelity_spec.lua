-- The table of fidelity names tests: each must be there, under its whole name.

local function read(path)
  local file <close> = io.open(path)
  return file and file:read("a")
end

local function spec_of(name)
  if name == "main" then return read("spec/sandbox_spec.lua") end
  return read(("spec/sandbox_%s_spec.lua"):format(name)) or read(("spec/%s_spec.lua"):format(name))
end

--- Whether a spec has a test, or a group of them, of this name. A name that is made in a loop stands in the spec as the
-- literal after what differs (`*stream*: `).
local function has_test(spec, name)
  local literal = name:gsub(" …$", ""):gsub("^%*stream%*", ""):gsub('"', '\\"')
  return spec:find('"' .. literal .. '"', 1, true) ~= nil
end

describe("sandbox fidelity", function()
  it("every fact has a test that exists", function()
    local rows = 0
    for line in read("lua/wgtwo/sandbox/FIDELITY.md"):gmatch("[^\n]+") do
      local names = line:match("^| [^|]+ | [^|]+ | ([^|]+) |$")
      assert.is_truthy(names or not line:find("^|") or line:find("^|%-"), "a row without a test: " .. line)
      if names and names ~= "test" and names ~= "—" then
        rows = rows + 1
        local spec
        for name in (names .. " · "):gmatch("(.-) · ") do
          local file, rest = name:match("^([%w_]+): (.*)$")
          local other = file and spec_of(file)
          if other then spec, name = other, rest end
          assert.is_truthy(spec and has_test(spec, name), "there is no test " .. name)
        end
      end
    end
    assert.is_true(rows > 80, rows .. " rows")
  end)
end)
