local options = require "wgtwo.options"

local spec = {
  timeout = { type = "number", above = 0, max = 3600, unit = "seconds", default = 10 },
  target = { type = "string", nonempty = true },
  secret = { type = "string", secret = true },
  count = { type = "integer", min = 1, max = 200 },
  names = { type = "list", of = { type = "string" } },
  start = { type = "string", one_of = { "new", "oldest" } },
  auth = { type = "table", or_false = true },
  logger = { type = "callable" },
  tls = { type = "table", fields = { ca_file = { type = "string" } } },
  keepalive = { type = "table", fill = true, fields = { time = { type = "number", default = 65 } } },
}

-- What check raises for these options, as a caller of a public function sees it.
local function complaint(given)
  local function public(o) return options.check("wgtwo.thing", o, spec) end
  local ok, message = pcall(function() public(given) end)
  assert.is_false(ok)
  return message
end

describe("options.check", function()
  it("fills in defaults, also of nested tables, in a copy", function()
    local given = { target = "h:1" }
    local checked = options.check("f", given, spec)
    assert.same({ target = "h:1", timeout = 10, keepalive = { time = 65 } }, checked)
    assert.same({ target = "h:1" }, given)
    assert.same({ timeout = 10, keepalive = { time = 65 } }, options.check("f", nil, spec))
  end)

  it("names the nearest known option for an unknown one", function()
    assert.matches('wgtwo.thing: unknown option "timoeut"; did you mean "timeout"?', complaint{ timoeut = 1 }, 1, true)
    assert.matches('unknown option "tagret"; did you mean "target"?', complaint{ tagret = "x" }, 1, true)
    assert.matches('unknown option "tls.ca_fil"; did you mean "ca_file"?', complaint{ tls = { ca_fil = "" } }, 1, true)
    assert.matches('the nearest known one is "', complaint{ zzzzzzzzzz = 1 }, 1, true)
    assert.matches("named options only, not [1]", complaint{ "x" }, 1, true)
  end)

  it("raises at the line that called the public function", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local _, message = pcall(function() (function(o) options.check("f", o, spec) end){ nonsense = 1 } end)
    assert.matches("options_spec.lua:" .. line .. ": f: unknown option", message, 1, true)
  end)

  it("checks types", function()
    assert.matches("timeout must be a finite number, not \"5\"", complaint{ timeout = "5" }, 1, true)
    assert.matches("timeout must be a finite number", complaint{ timeout = 0 / 0 }, 1, true)
    assert.matches("timeout must be a finite number", complaint{ timeout = math.huge }, 1, true)
    assert.matches("count must be an integer, not 1.5", complaint{ count = 1.5 }, 1, true)
    assert.matches("auth must be a table or false, not true", complaint{ auth = true }, 1, true)
    assert.matches("logger must be a function, not a table", complaint{ logger = {} }, 1, true)
    assert.matches("options must be a table, not string", complaint("x"), 1, true)
    assert.same(false, options.check("f", { auth = false }, spec).auth)
    local logger = setmetatable({}, { __call = print })
    assert.equal(logger, options.check("f", { logger = logger }, spec).logger)
  end)

  it("checks ranges, names the limits and the unit", function()
    assert.matches("timeout must be more than 0 and at most 3600 seconds, not 0", complaint{ timeout = 0 }, 1, true)
    assert.matches("count must be at least 1 and at most 200, not 201", complaint{ count = 201 }, 1, true)
    assert.matches("target must not be empty", complaint{ target = "" }, 1, true)
    assert.matches('start: unknown value "odlest"; did you mean "oldest"?', complaint{ start = "odlest" }, 1, true)
  end)

  it("checks each item of a list", function()
    assert.same({ "a", "b" }, options.check("f", { names = { "a", "b" } }, spec).names)
    assert.matches("names[2] must be a string, not 2", complaint{ names = { "a", 2 } }, 1, true)
    assert.matches("names must be a list", complaint{ names = { a = "b" } }, 1, true)
  end)

  it("never shows a secret", function()
    assert.matches("secret must be a string, not a table", complaint{ secret = { "hunter2" } }, 1, true)
    local rule = { secret = { type = "number", secret = true } }
    local _, message = pcall(options.check, "f", { secret = "hunter2" }, rule)
    assert.not_matches("hunter2", message)
  end)
end)

describe("options.nearest", function()
  it("counts swapped neighbours as one edit", function()
    assert.equal("types", (options.nearest("tpyes", { "type_of", "types", "bytes" })))
  end)

  it("says whether the name is near enough to be what was meant", function()
    assert.same({ "env", true }, { options.nearest("environment", { "env", "target" }) })
    assert.is_false(select(2, options.nearest("xyzzyxyzzy", { "env", "target" })))
    assert.is_nil((options.nearest("x", {})))
  end)
end)
