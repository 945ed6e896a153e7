-- The table of fidelity names tests: each must be there.

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function spec_of(name)
  return read(name == "main" and "spec/sandbox_spec.lua" or ("spec/sandbox_%s_spec.lua"):format(name))
end

describe("sandbox fidelity", function()
  it("every fact has a test that exists", function()
    local rows, spec = 0, nil
    for line in read("lua/wgtwo/sandbox/FIDELITY.md"):gmatch("[^\n]+") do
      local names = line:match("^| [^|]+ | [^|]+ | ([^|]+) |$")
      if names and names ~= "test" then
        rows = rows + 1
        for name in (names .. " · "):gmatch("(.-) · ") do
          local file, rest = name:match("^([%w_]+): (.*)$")
          if file then spec, name = spec_of(file), rest end
          name = name:gsub(": …$", ""):gsub("%*stream%*: ", ""):gsub('"', '\\"')
          local found = name == "—" or spec:find(name, 1, true) or spec:find(name:gsub('\\"', '"'), 1, true)
          assert.is_truthy(found, "there is no test " .. name)
        end
      end
    end
    assert.is_true(rows > 60, rows .. " rows")
  end)
end)
