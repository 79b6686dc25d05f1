// A pipeline's world, for the manual's shared-library step: the steps of Jenkins' plugins that it uses, over real HTTP.
// Arguments: the step's file, the family, the build. HOOKS is where hooks are, and who asks there is told what came.
// Prints what the step echoes and returns; ends with 1 on `error`.
import org.codehaus.groovy.control.CompilerConfiguration

abstract class Pipeline extends Script {
    def getEnv() { System.getenv() }

    def registerWebhook() {
        def id = UUID.randomUUID().toString()
        [url: "${env.HOOKS}/webhook-step/${id}".toString(), told: "${env.HOOKS}/told/${id}".toString()]
    }

    def waitForWebhook(hook) { new URL(hook.told).getText('UTF-8') }

    def httpRequest(Map asked) {
        def connection = new URL(asked.url.toString()).openConnection()
        connection.requestMethod = asked.httpMode
        connection.doOutput = true
        connection.setRequestProperty('Content-Type', 'application/json')
        asked.customHeaders.each { connection.setRequestProperty(it.name, it.value.toString()) }
        connection.outputStream.withWriter('UTF-8') { it << asked.requestBody }
        def (low, high) = asked.validResponseCodes.split(':').collect { it as int }
        def status = connection.responseCode
        if (status < low || status > high) { error "answered ${status}: ${connection.errorStream?.text}" }
    }

    def echo(text) { println text }

    def error(text) { println "ERROR ${text}"; System.exit(1) }
}

def (step, family, build) = args
def config = new CompilerConfiguration(scriptBaseClass: Pipeline.name)
def told = new GroovyShell(this.class.classLoader, new Binding(), config).parse(new File(step)).call(family: family, build: build)
println "returned ${told.verdict}"
