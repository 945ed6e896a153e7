-- The runner of the tests itself: what a crash, a hang, or a file that does not load counts as.

local process = require("spec.support.process")

describe("suite", function()
  local folder

  setup(function() folder = assert(io.popen("mktemp -d")):read("l") end)
  teardown(function() os.execute("rm -rf " .. process.quote(folder)) end)

  -- Runs the suite over files of these texts; returns its output, its last line and whether it ended well.
  local function run(texts, env)
    local paths = {}
    for i, text in ipairs(texts) do
      paths[i] = ("%s/t%d_spec.lua"):format(folder, i)
      local file = assert(io.open(paths[i], "w"))
      file:write(text)
      file:close()
    end
    local result = process.lua("spec/support/suite.lua", { args = paths, env = env, timeout = 60 })
    return result.output, result.output:match("([^\n]*)\n$"), result.ok
  end

  it("adds up the files and ends with the counts", function()
    local _, last, ok = run({
      'describe("a", function() it("x", function() end) it("y", function() end) end)',
      'describe("b", function() it("z", function() end) end)',
    })
    assert.equal("3 passed, 0 failed", last)
    assert.is_true(ok)
  end)

  it("shows a failure with its place, and ends with an error", function()
    local output, last, ok = run({
      'describe("a", function() it("x", function() assert.equal(1, 2) end) pending("p") end)',
    })
    assert.equal("0 passed, 1 failed, 1 skipped", last)
    assert.is_false(ok)
    assert.matches("FAILED a x %(.*t1_spec.lua:1%)", output)
  end)

  it("counts a file that does not load as a failure", function()
    local _, last, ok = run({ "describe(" })
    assert.equal("0 passed, 1 failed", last)
    assert.is_false(ok)
  end)

  it("counts a crash as a failure, names the test, and goes on with the next file", function()
    local output, last, ok = run({
      'describe("a", function() it("x", function() end) it("dies", function() os.execute("kill -9 $PPID") end) end)',
      'describe("b", function() it("y", function() end) end)',
    })
    assert.equal("2 passed, 1 failed", last)
    assert.is_false(ok)
    assert.matches("ended by signal 9, in: a dies", output)
  end)

  it("counts os.exit in a test as a failure", function()
    local _, last, ok = run({ 'describe("a", function() it("leaves", function() os.exit(true) end) end)' })
    assert.equal("0 passed, 1 failed", last)
    assert.is_false(ok)
  end)

  it("interrupts a test that hangs, where it stands", function()
    local output, last = run({
      'describe("a", function() it("hangs", function() while true do end end) it("x", function() end) end)',
    }, { WGTWO_TEST_LIMIT = "3" })
    assert.equal("1 passed, 1 failed", last)
    assert.matches("interrupted!", output)
  end)

  it("is a failure when no test ran", function()
    local _, last, ok = run({})
    assert.equal("0 passed, 1 failed", last)
    assert.is_false(ok)
  end)
end)
