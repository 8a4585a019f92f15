/** Starts the page. */
import 'uplot/dist/uPlot.min.css'
import './colours.css'
import './elements.css'
import './frame.css'
import './charts.css'
import './tables.css'
import './finder.css'
import './tasks.css'
import './quotas.css'
import './narrow.css'
import { render } from 'preact'
import { App } from './app.tsx'
import { startTheme } from './theme.ts'

startTheme()
const place = document.getElementById('app')
if (place !== null) {
  place.replaceChildren()
  render(<App />, place)
}
